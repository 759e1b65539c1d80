/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of the domain XML reader. A load is four steps, in domxml.c:
 *
 *  1. read the file into memory, at most DOMXML_MAX_FILE bytes (domxml_doc.c);
 *  2. scan its tags before libxml2 sees them: depth, number of elements and of
 *     attributes are bounded, a DOCTYPE is refused (so there are no entities
 *     beyond XML's own five), then parse it (domxml_doc.c);
 *  3. walk the tree along the tables of domxml_rules.c: each element and
 *     attribute is honoured, known to have no effect, warned about once, or
 *     refused; an element's handler runs after all that is below it;
 *  4. check what spans elements: duplicates, missing parts, defaults.
 *
 * Handlers never stop at an error: they report it and leave a default, so that
 * one run shows all that is wrong.
 */
#ifndef HVX_VMM_DOMXML_INT_H
#define HVX_VMM_DOMXML_INT_H

#include <libxml/tree.h>
#include <stddef.h>
#include <stdio.h>
#include "domxml.h"

#define DOMXML_MAX_DEPTH	32	/* of nested elements; libvirt's own XML needs 9 */
#define DOMXML_MAX_ELEMENTS	20000
#define DOMXML_MAX_ATTRS	64	/* of one element, namespaces included */
#define DOMXML_MAX_NAMESPACES	256
#define DOMXML_MAX_ERRORS	20	/* shown; the rest is counted */

#define QEMU_NS	"http://libvirt.org/schemas/domain/qemu/1.0"

struct msg {
	unsigned int line;	/* 0: of the whole file */
	bool warning;
	char *text;
};

/* One load. Everything but dom is freed at its end. */
struct px {
	struct domain *dom;
	const char *file;	/* as messages show it */
	const char *sysroot;	/* before /etc, /sys and /var; "" outside of tests */
	char *dir;		/* absolute folder of the file: base of relative paths */
	struct msg *msg;
	unsigned int nr_msg, room_msg, errors;
	const char **warned;	/* texts of domxml_rules.c warned about already */
	unsigned int nr_warned;
	char **scratch;		/* strings that live until the end of the load */
	unsigned int nr_scratch;

	/* what the final checks need */
	xmlNode *os_node, *cpu_node, *max_memory_node;
	xmlNode *memdev_node[DOM_MAX_MEMDEVS];
	uint64_t cell_memory;		/* of <numa><cell>, 0: not given */
	xmlNode *disk_node[DOM_MAX_DISKS], *nic_node[DOM_MAX_NICS];
	xmlNode *boot_node[DOM_MAX_DISKS + DOM_MAX_NICS];	/* <boot order=> seen, by order - 1 */
	unsigned int nr_ranges;		/* of port forwards, all interfaces */
	bool name_seen, memory_seen;
};

/* --- domxml.c --- */
/*
 * domxml_load() with its messages to out (NULL: nowhere), warnings only if
 * asked for, and the host's files below sysroot.
 */
struct domain *domxml_parse(const char *path, int fd, FILE *out, bool warnings,
			    const char *sysroot, int *errors);
/*
 * Report against an element, and one of its attributes (or NULL: the element's
 * text, if it has any). The text says what is wrong; what to do.
 */
void px_err(struct px *px, const xmlNode *n, const char *attr, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void px_warn(struct px *px, const xmlNode *n, const char *attr, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void px_msg(struct px *px, unsigned int line, bool warning, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Once a load for each text (compared by address). */
bool px_first(struct px *px, const char *text);
/* Keep a malloc()ed string until the end of the load; NULL stays NULL. */
char *px_keep(struct px *px, char *s);

/* --- domxml_doc.c --- */
/* Read at most max bytes from fd, or from path where fd < 0. NULL: *why says why. free() it. */
char *doc_read(const char *path, int fd, size_t max, size_t *len, char **why);
/* Bounds (above) and no DOCTYPE. 0, or -1 with *line and *why (static text). */
int doc_scan(const char *buf, size_t len, unsigned int *line, const char **why);
/* doc_scan() and libxml2. NULL: *line and *why (malloc()ed). */
xmlDoc *doc_parse(const char *buf, size_t len, unsigned int *line, char **why);

/* --- domxml_walk.c --- */
enum act {
	USE,		/* honoured */
	IGN,		/* no effect here, with all that is below it */
	HINT,		/* the same, but its owner may miss it: note is warned of once */
	REF,		/* refused: note says what to do */
};

struct xattr {
	const char *name;
	enum act act;
	const char *only;	/* accepted values, "a|b"; NULL: any, or the handler checks */
	const char *note;	/* HINT, REF: text. With only: what to do about other values, of which HINT warns */
};

struct xelem {
	const char *name;
	enum act act;
	const char *note;
	const struct xattr *attrs;	/* ends with name NULL */
	const struct xelem *kids;	/* likewise */
	void (*fn)(struct px *px, xmlNode *n);
	unsigned int flags;		/* F_* */
};
#define F_ONCE	(1U << 0)	/* at most one in its parent */
#define F_TEXT	(1U << 1)	/* has text */
#define F_QEMU	(1U << 2)	/* in QEMU_NS */
#define F_HVX	(1U << 3)	/* in DOMXML_HVX_NS */
#define F_META	(1U << 4)	/* ignored, except for hvx's own elements */
#define F_OPAQUE (1U << 5)	/* attributes and children go unchecked; fn looks at what it needs */

void walk(struct px *px, xmlNode *n, const struct xelem *rule);
extern const struct xelem domxml_root;			/* domxml_rules.c */
extern const struct xelem domxml_devices_rules[];	/* domxml_rules_dev.c */
extern const char domxml_no_display[];			/* the note on all that needs a screen or USB */

/* --- domxml_value.c: reading the tree --- */
/* Attribute's value or NULL; valid as long as the tree. */
const char *x_attr(const xmlNode *n, const char *name);
/* First child element of that name (no namespace), or NULL. */
xmlNode *x_child(const xmlNode *n, const char *name);
xmlNode *x_next(const xmlNode *n, const char *name);	/* next sibling of that name */
/* Text of an element, trimmed; "" if none. Valid until the end of the load. */
const char *x_text(struct px *px, const xmlNode *n);
/* malloc()ed copies; NULL where absent or empty. */
char *x_attr_dup(const xmlNode *n, const char *name);
char *x_text_dup(struct px *px, const xmlNode *n);
/* Attribute is there and is `value`. */
bool x_is(const xmlNode *n, const char *name, const char *value);
bool x_yes(const xmlNode *n, const char *name);		/* "yes" or "on" */

/* An unsigned number: decimal, or hex with 0x. 0 or -1 (syntax, overflow). */
int parse_u64(const char *s, uint64_t *out);
/* Attribute as a number in min..max. Absent: false, *out unchanged. Bad: reported, false. */
bool x_num(struct px *px, const xmlNode *n, const char *attr, uint64_t min, uint64_t max, uint64_t *out);
/* Element's text likewise. */
bool x_textnum(struct px *px, const xmlNode *n, uint64_t min, uint64_t max, uint64_t *out);
/* number x unit ("KiB", "M", "b"; NULL or "": KiB) in bytes. 0, -1 number, -2 unit, -3 overflow. */
int parse_size(const char *num, const char *unit, uint64_t *bytes);
int parse_uuid(const char *s, uint8_t uuid[16]);
int parse_mac(const char *s, uint8_t mac[6]);
/* Path as the VMM opens it: relative ones start at the XML file's folder. malloc()ed. */
char *x_path(struct px *px, const char *path);
/* UUID and MAC made from the guest's name, its UUID, and this host. */
void make_uuid(struct px *px, uint8_t uuid[16]);
void make_mac(const uint8_t uuid[16], unsigned int index, uint8_t mac[6]);

/* --- domxml_host.c: what libvirt keeps of pools and networks --- */
/* Path of a volume, *block if it is a device. NULL: *why (static text). */
char *host_volume(struct px *px, const char *pool, const char *volume, bool *block, const char **why);
/* Bridge of a network if it exists on this host, else NULL. */
char *host_network_bridge(struct px *px, const char *network);

/* --- handlers, by file --- */
/* domxml_os.c */
void h_name(struct px *px, xmlNode *n);
void h_title(struct px *px, xmlNode *n);
void h_description(struct px *px, xmlNode *n);
void h_uuid(struct px *px, xmlNode *n);
void h_memory(struct px *px, xmlNode *n);
void h_vcpu(struct px *px, xmlNode *n);
void h_backing(struct px *px, xmlNode *n);
void h_os(struct px *px, xmlNode *n);
void h_sysinfo(struct px *px, xmlNode *n);
void h_lifecycle(struct px *px, xmlNode *n);
void h_pm(struct px *px, xmlNode *n);
void h_hvx_module(struct px *px, xmlNode *n);
void h_hvx_debug_exit(struct px *px, xmlNode *n);
void h_qemu_commandline(struct px *px, xmlNode *n);
void check_os(struct px *px);
/* domxml_cpu.c */
void h_features(struct px *px, xmlNode *n);
void h_cpu(struct px *px, xmlNode *n);
void h_clock(struct px *px, xmlNode *n);
void check_cpu(struct px *px);
/* domxml_disk.c */
void h_disk(struct px *px, xmlNode *n);
void check_disks(struct px *px);
/* domxml_net.c */
void h_interface(struct px *px, xmlNode *n);
void check_nics(struct px *px);
/* domxml_tune.c */
void h_cputune(struct px *px, xmlNode *n);
void h_memtune(struct px *px, xmlNode *n);
void h_blkiotune(struct px *px, xmlNode *n);
void h_numatune(struct px *px, xmlNode *n);
/* "0-3,^2": 0 or -1. */
int cpuset_parse(const char *s, struct dom_cpuset *set);
/* An attribute that must be there and be one. */
void x_cpuset(struct px *px, xmlNode *n, const char *attr, struct dom_cpuset *set);
void disk_rates(struct px *px, xmlNode *disk, struct dom_disk *d);
void nic_rates(struct px *px, xmlNode *nic, struct dom_nic *d);
/* domxml_memdev.c */
void h_memdev(struct px *px, xmlNode *n);
/* Sizes against each other; what the guest begins with. */
void check_memory(struct px *px);
/* domxml_os.c */
void size_error(struct px *px, const xmlNode *n, int err);	/* of parse_size() */
/* domxml_dev.c */
/* <boot order=> of a device, 0 if none; each order once a guest. */
unsigned int boot_order(struct px *px, xmlNode *device);
void h_serial(struct px *px, xmlNode *n);
void h_console(struct px *px, xmlNode *n);
void h_channel(struct px *px, xmlNode *n);
void h_controller(struct px *px, xmlNode *n);
void h_rng(struct px *px, xmlNode *n);
void h_memballoon(struct px *px, xmlNode *n);
void h_vsock(struct px *px, xmlNode *n);
void h_panic(struct px *px, xmlNode *n);
void h_watchdog(struct px *px, xmlNode *n);
void check_devices(struct px *px);

#endif
