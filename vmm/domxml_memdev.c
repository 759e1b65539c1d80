// SPDX-License-Identifier: GPL-2.0-only
/* <devices><memory>, and what there is of memory altogether. */
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/mem.h"
#include "domxml_int.h"

#define BLOCK_DEFAULT	(2ULL << 20)
#define BLOCK_MAX	(1ULL << 40)

/* A size in <target>. False: not there, or reported. */
static bool size_in(struct px *px, xmlNode *target, const char *name, uint64_t *bytes)
{
	xmlNode *n = x_child(target, name);
	int err = n ? parse_size(x_text(px, n), x_attr(n, "unit"), bytes) : 0;

	if (err)
		size_error(px, n, err);
	return n && !err;
}

static void address(struct px *px, xmlNode *n, struct dom_memdev *md)
{
	x_num(px, n, "base", RAM_HIGH_START, (1ULL << 52) - 1, &md->base);
	if (md->base % md->block)
		px_err(px, n, "base", "not a multiple of <block>; remove <address>");
}

static bool id_ok(const char *s)
{
	return s && *s && strlen(s) <= 20 &&
	       !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")];
}

static char *new_id(struct px *px, xmlNode *n)
{
	const char *alias = x_attr(x_child(n, "alias"), "name");
	char *id = NULL;

	if (id_ok(alias))
		return strdup(alias);
	return asprintf(&id, "virtiomem%u", px->dom->nr_memdevs) < 0 ? NULL : id;
}

void h_memdev(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	struct dom_memdev *md = &dom->memdev[dom->nr_memdevs];
	xmlNode *target = x_child(n, "target"), *node = x_child(target, "node");
	uint64_t zero = 0;

	if (dom->nr_memdevs == DOM_MAX_MEMDEVS) {
		px_err(px, n, NULL, "more than %d memory devices; make them larger instead", DOM_MAX_MEMDEVS);
		return;
	}
	if (!x_attr(n, "model"))
		px_err(px, n, NULL, "no model=; write model='virtio-mem'");
	*md = (struct dom_memdev){ .block = BLOCK_DEFAULT, .line = (unsigned int)xmlGetLineNo(n) };
	if (!size_in(px, target, "size", &md->size) || !md->size) {
		px_err(px, target ? target : n, NULL, "no <size>; write <target><size unit='MiB'>1024</size>...</target>");
		return;
	}
	size_in(px, target, "block", &md->block);
	size_in(px, target, "requested", &md->requested);
	if (md->block < BLOCK_DEFAULT || md->block > BLOCK_MAX || md->block & (md->block - 1)) {
		px_err(px, x_child(target, "block"), NULL, "not a size of blocks; write a power of two from 2 MiB up");
		return;
	}
	if (md->size % md->block || md->size / md->block > MEM_MAX_BLOCKS)
		px_err(px, x_child(target, "size"), NULL, "not a multiple of <block>, or more than %u of them; write another, or larger blocks",
		       MEM_MAX_BLOCKS);
	if (md->requested % md->block || md->requested > md->size)
		px_err(px, x_child(target, "requested"), NULL, "not a multiple of <block>, or more than <size>");
	if (node && *x_text(px, node))
		x_textnum(px, node, 0, 0, &zero);
	address(px, x_child(target, "address"), md);
	md->id = new_id(px, n);
	px->memdev_node[dom->nr_memdevs++] = n;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static void check_ids(struct px *px)
{
	const struct domain *dom = px->dom;

	for (unsigned int i = 0; i < dom->nr_memdevs; i++)
		for (unsigned int k = 0; k < i; k++)
			if (dom->memdev[i].id && dom->memdev[k].id && !strcmp(dom->memdev[i].id, dom->memdev[k].id))
				px_err(px, px->memdev_node[i], NULL, "another memory device is called %s; give it another <alias name=>",
				       dom->memdev[i].id);
}

/* <memory> has the memory devices in it, as libvirt counts; a <cell> tells what is without. */
void check_memory(struct px *px)
{
	struct domain *dom = px->dom;
	uint64_t page = dom->backing.hugepages ? dom->backing.hugepage_size : 0, devices = 0, room = 0, max;
	uint64_t align = page > MEMDEV_ALIGN ? page : MEMDEV_ALIGN;

	for (unsigned int i = 0; i < dom->nr_memdevs; i++) {
		const struct dom_memdev *md = &dom->memdev[i];

		devices += md->size;
		room += round_up(md->size, align > md->block ? align : md->block);
		if (md->block < page)
			px_err(px, px->memdev_node[i], NULL, "blocks that are smaller than the pages of <hugepages>; write a larger <block>");
	}
	check_ids(px);
	if (!dom->nr_memdevs && (!px->max_memory_node || dom->max_memory <= dom->memory))
		return;
	if (px->cell_memory && dom->nr_memdevs)
		dom->memory = round_up(px->cell_memory, 1 << 20);
	else if (dom->nr_memdevs && devices >= dom->memory)
		px_err(px, px->memdev_node[0], NULL, "<memory> has no more than the sizes of its memory devices; it is the sum of those and of what the guest begins with");
	else
		dom->memory -= devices;
	max = px->max_memory_node && dom->max_memory > dom->memory ? dom->max_memory - dom->memory : 0;
	if (px->max_memory_node && devices > max)
		px_err(px, px->max_memory_node, NULL, "less than <memory> with its memory devices; raise it");
	dom->device_room = round_up(room > max ? room : max, align);
	if (dom->max_memory < dom->memory + devices)
		dom->max_memory = dom->memory + devices;
}
