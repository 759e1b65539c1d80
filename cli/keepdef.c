// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "cli.h"
#include "guest.h"
#include "keepdef.h"
#include "rundir.h"
#include "store.h"
#include "vmm/domxml_int.h"
#include "xmledit.h"

/*
 * The same guest may be defined here already: it has been here before. Once its VMM
 * waits for us, nobody is asked who would wait for it: definitions alone are looked at.
 */
static int conflict(const struct keepdef *k, bool waited_for, char *why, size_t room)
{
	struct guest *all;
	int ret = 0;
	size_t n;

	all = waited_for ? guests_defined(&n) : guests_list(true, &n);
	for (size_t i = 0; i < n && !ret; i++) {
		bool same_name = !strcmp(all[i].name, k->name), same_uuid = !strcasecmp(all[i].uuid, k->uuid);

		ret = same_name != same_uuid && (all[i].defined || !same_name) ? -1 : 0;
		if (ret && same_name)
			snprintf(why, room, "another guest called %s is defined there; use --dname", k->name);
		else if (ret)
			snprintf(why, room, "the guest is called %s there, by its UUID; use --dname %.64s", all[i].name,
				 all[i].name);
	}
	guests_free(all, n);
	return ret;
}

static int complete(struct keepdef *k, const char *file, const char *text, size_t len, const char *uuid)
{
	struct domain *dom = store_parse(file, text, len, false);
	xmlDoc *doc = dom ? xmledit_open(text, len) : NULL;
	const uint8_t *u = dom ? dom->uuid : NULL;

	if (doc && (dom->uuid_given || !*uuid)) {
		if (asprintf(&k->uuid, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
			     u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]) < 0)
			k->uuid = NULL;
	} else if (doc) {
		k->uuid = strdup(uuid);
	}
	if (doc && k->uuid) {
		xmledit_set(doc, "name", k->name);
		xmledit_set(doc, "uuid", k->uuid);
		if (!xmledit_absolute(doc, file))
			k->text = xmledit_text(doc, &k->len);
	}
	if (doc)
		xmlFreeDoc(doc);
	domain_free(dom);
	return k->text ? 0 : -1;
}

int keepdef_open(struct keepdef *k, const char *file, const char *text, size_t len, const char *name,
		 const char *uuid, char *why, size_t room)
{
	struct domain *dom = NULL;

	memset(k, 0, sizeof(*k));
	k->name = strdup(name);
	snprintf(why, room, "a definition that cannot be kept there");
	/* What a peer says to be a UUID goes into the text: that must still be a definition. */
	if (guest_name_ok(name) && k->name && !complete(k, file, text, len, uuid))
		dom = store_parse(file, k->text, k->len, false);
	if (dom && !conflict(k, false, why, room) && store_dir()) {
		domain_free(dom);
		return 0;
	}
	domain_free(dom);
	keepdef_close(k);
	return -1;
}

int keepdef_write(struct keepdef *k)
{
	int lock = k->text ? store_lock() : -1, ret = -1;
	char why[512] = "";

	if (!k->text)
		return 0;
	if (lock < 0)
		return -1;
	if (conflict(k, true, why, sizeof(why))) {
		cli_error("receive: %s", why);
	} else {
		errno = 0;
		free(k->before);
		k->before = store_read(k->name, &k->before_len);
		ret = !k->before && errno != ENOENT ? -1 : store_write(k->name, k->text, k->len);
		k->written = !ret;
		if (ret)
			cli_error("receive: %s/%s.xml: %s", store_dir(), k->name, strerror(errno));
	}
	close(lock);
	return ret;
}

void keepdef_undo(struct keepdef *k)
{
	int lock = k->written ? store_lock() : -1;
	size_t len = 0;
	char *now;

	if (lock < 0)
		return;
	now = store_read(k->name, &len);
	if (now && len == k->len && !memcmp(now, k->text, len) &&
	    (k->before ? store_write(k->name, k->before, k->before_len) : store_remove(k->name)))
		cli_error("receive: %s/%s.xml: %s", store_dir(), k->name, strerror(errno));
	k->written = false;
	free(now);
	close(lock);
}

void keepdef_close(struct keepdef *k)
{
	free(k->name);
	free(k->uuid);
	free(k->text);
	free(k->before);
	memset(k, 0, sizeof(*k));
}
