// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/domxml*.c vmm/cpu_model.c vmm/cpu_feature.c vmm/livexml.c vmm/config.c devices/storage/foreign.c */
/*
 * libFuzzer: a domain's XML, and what is changed in the text of one that runs. Seeds:
 * tests/config.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vmm/domxml_int.h"
#include "vmm/livexml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char snippet[] = "<disk type='file'><source file='/x'/><target dev='vdz' bus='virtio'/></disk>";

/* What came out is XML that can be read again. */
static void change(const char *xml, size_t len)
{
	struct xml_ref disk = { .kind = XML_DISK, .id = "vdz" };
	const char *why = NULL;
	size_t n, n2;
	char *with = livexml_add(xml, len, snippet, NULL, &n, &why), *without;

	if (!with) {
		if (!why)
			abort();
		return;
	}
	without = livexml_remove(with, n, &disk, true, &n2, &why);
	if (!without && strcmp(why, "out of memory") && !memmem(xml, len, "vdz", 3))
		abort();
	free(without);
	free(with);
	free(livexml_vcpus(xml, len, 1, 2, &n, &why));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("x", MFD_CLOEXEC), errors = 0;
	struct domain *dom;
	char *text = NULL;
	size_t len;
	FILE *f;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	f = open_memstream(&text, &len);
	dom = domxml_parse("x.xml", fd, f, true, "tests/config/sysroot", &errors);
	fclose(f);
	close(fd);
	/* Refused with a word, or taken. */
	if ((dom == NULL) != (errors != 0) || (!dom && !*text))
		abort();
	if (dom)
		change((const char *)data, size);
	domain_free(dom);
	free(text);
	return 0;
}
