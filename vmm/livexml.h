/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A domain's XML as text, with a device put in or taken out. Used by the VMM on the
 * guest's own XML, inside the sandbox, and by the tool on definitions: nothing is
 * opened here. The rest of the text stays as its author wrote it.
 */
#ifndef HVX_VMM_LIVEXML_H
#define HVX_VMM_LIVEXML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum xml_dev { XML_DISK, XML_NIC, XML_MEM };

/*
 * Which one: a disk by its <target dev=>, an interface by its MAC address, or by its
 * <alias name='hvx-ID'/> where it has one. Interfaces without an alias are net0, net1, ...
 * in the order of the text, as the VMM names them. A memory device by its <alias name=>, or
 * virtiomemN, by its place among all.
 */
struct xml_ref {
	enum xml_dev kind;
	const char *id;		/* "vda"; "net0"; NULL: by mac, or the only memory device */
	const uint8_t *mac;	/* of an interface, NULL: by id */
};

#define XML_ALIAS "hvx-"	/* before an id in <alias name=> */

/* Of a disk's target, an interface or a memory device: 1 to 15 letters and digits. */
bool device_id_ok(const char *id);

/*
 * Put `snippet`, one <disk>, <interface> or <memory>, at the end of <devices>. id, where it is
 * not NULL, becomes the alias of what is no disk. A new text, free() it; NULL: *why (static).
 */
char *livexml_add(const char *xml, size_t len, const char *snippet, const char *id, size_t *out_len,
		  const char **why);
/*
 * Take a device out. pin: interfaces that have no alias get one first, so that the
 * names of those that stay do not change.
 */
char *livexml_remove(const char *xml, size_t len, const struct xml_ref *ref, bool pin,
		     size_t *out_len, const char **why);
/* The device's own text: as livexml_add() takes it. */
char *livexml_device(const char *xml, size_t len, const struct xml_ref *ref, const char **why);
/* <vcpu current='now'>max</vcpu>; max 0: as it is. */
char *livexml_vcpus(const char *xml, size_t len, unsigned int now, unsigned int max, size_t *out_len, const char **why);
/* One feature of a <cpu>. */
struct xml_cpu_feature {
	const char *name;
	bool disable;		/* else required */
};
/*
 * The running guest's <cpu>: exactly this model, with these features told from it. What it says
 * of topology, caches and addresses stays. vendor: NULL or "" for none.
 */
char *livexml_cpu(const char *xml, size_t len, const char *model, const char *vendor,
		  const struct xml_cpu_feature *f, unsigned int nr, size_t *out_len, const char **why);
/*
 * A memory device of the running guest, by its <alias name=>, or its place where it has none that
 * fits: what is requested of it, where it is, what it is called.
 */
char *livexml_memdev(const char *xml, size_t len, const char *id, uint64_t requested, uint64_t base,
		     size_t *out_len, const char **why);
/*
 * What a snippet is: its kind and, for a disk, its target (free() it), for an interface its MAC where it has one,
 * for a memory device its alias where it has one, as target.
 */
int livexml_kind(const char *snippet, size_t len, enum xml_dev *kind, char **target, uint8_t mac[6],
		 bool *has_mac, const char **why);

#endif
