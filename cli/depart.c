// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "depart.h"
#include "vmm/livexml.h"
#include "xmledit.h"

static struct moving_disk *find(struct moving *mv, const char *target)
{
	for (unsigned int i = 0; i < mv->nr; i++)
		if (!strcmp(mv->disk[i].target, target))
			return &mv->disk[i];
	return NULL;
}

static int add(struct moving *mv, const char *target)
{
	struct moving_disk *d = &mv->disk[mv->nr];

	if (!device_id_ok(target) || find(mv, target) || mv->nr == DOM_MAX_DISKS) {
		cli_error("migrate: --migrate-disks: '%s' is no disk's <target dev=>, or is there twice", target);
		return -1;
	}
	*d = (struct moving_disk){ .wire = WIRE_NONE };
	snprintf(d->target, sizeof(d->target), "%s", target);
	mv->nr++;
	return 0;
}

static int add_listed(struct moving *mv, const char *list)
{
	char *copy = strdup(list), *save = NULL, *name;
	int ret = copy ? 0 : -1;

	for (name = copy ? strtok_r(copy, ",", &save) : NULL; name && !ret; name = strtok_r(NULL, ",", &save))
		ret = add(mv, name);
	free(copy);
	if (!ret && !mv->nr) {
		cli_error("migrate: --migrate-disks: a list of disks is wanted: vda,vdb");
		ret = -1;
	}
	return ret;
}

static int add_all(struct moving *mv, const struct guest *g)
{
	struct domain *dom = guest_domain(g, false);
	int ret = dom ? 0 : -1;

	for (unsigned int i = 0; dom && i < dom->nr_disks && !ret; i++) {
		const struct dom_disk *d = &dom->disk[i];

		if (d->file && d->target && !d->readonly && !d->shareable && !d->transient && !d->cdrom)
			ret = add(mv, d->target);
	}
	domain_free(dom);
	return ret;
}

/* What the VMM says of their sizes. */
static int measure(struct moving *mv, struct control *c)
{
	struct json_object *all = NULL, *image;
	size_t i, n = 0;

	if (control_do(c, "query-block", NULL, &all))
		return -1;
	n = json_object_array_length(all);
	for (i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(all, i);
		const char *name = json_object_get_string(json_object_object_get(o, "device"));
		struct moving_disk *d = name ? find(mv, name) : NULL;

		image = json_object_object_get(json_object_object_get(o, "inserted"), "image");
		if (d)
			d->size = json_object_get_int64(json_object_object_get(image, "virtual-size"));
	}
	json_object_put(all);
	for (i = 0; i < mv->nr; i++) {
		if (mv->disk[i].size > 0)
			continue;
		cli_error("migrate: disk %s: the guest has no such disk", mv->disk[i].target);
		return -1;
	}
	return 0;
}

int moving_choose(struct moving *mv, const struct guest *g, struct control *c, const char *list)
{
	return (list ? add_listed(mv, list) : add_all(mv, g)) || measure(mv, c) ? -1 : 0;
}

struct json_object *moving_list(const struct moving *mv)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < mv->nr; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "target", json_object_new_string(mv->disk[i].target));
		json_object_object_add(o, "size", json_object_new_int64(mv->disk[i].size));
		json_object_array_add(list, o);
	}
	return list;
}

char *moving_xml(const struct moving *mv, const char *text, size_t *len)
{
	xmlDoc *doc = xmledit_open(text, *len);
	char *out = NULL;

	if (!doc)
		return NULL;
	for (unsigned int i = 0; i < mv->nr; i++)
		xmledit_flatten_disk(doc, mv->disk[i].target);
	out = xmledit_text(doc, len);
	xmlFreeDoc(doc);
	return out;
}
