// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names that libvirt resolves from its own configuration: storage volumes
 * (<source pool= volume=>) and networks (<source network=>). Its files are
 * read where they can be; its defaults are assumed where they cannot.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "domxml_int.h"

#define HOST_XML_MAX	(256U << 10)

/* A name that becomes part of a path. */
static bool plain_name(const char *s)
{
	return *s && strcmp(s, ".") && strcmp(s, "..") && !strchr(s, '/');
}

static bool readable(const char *path)
{
	return access(path, R_OK) == 0;
}

/* Tree of SYSROOT/DIR/NAME.xml. NULL: not there, or not readable, or not XML. */
static xmlDoc *host_xml(struct px *px, const char *dir, const char *name)
{
	unsigned int line;
	char *path, *buf = NULL, *why = NULL;
	size_t len = 0;
	xmlDoc *doc = NULL;

	if (!plain_name(name) || asprintf(&path, "%s%s/%s.xml", px->sysroot, dir, name) < 0)
		return NULL;
	if (readable(path))
		buf = doc_read(path, -1, HOST_XML_MAX, &len, &why);
	if (buf)
		doc = doc_parse(buf, len, &line, &why);
	free(why);
	free(buf);
	free(path);
	return doc;
}

static xmlDoc *pool_xml(struct px *px, const char *pool)
{
	static const char *const dirs[] = { "/etc/libvirt/storage", "/run/libvirt/storage" };
	xmlDoc *doc = NULL;

	for (size_t i = 0; i < 2 && !doc; i++)
		doc = host_xml(px, dirs[i], pool);
	return doc;
}

/* Pools whose volumes are files or devices named PATH/VOLUME. */
static bool pool_is_folder(const char *type, bool *block)
{
	static const char *const files[] = { "dir", "fs", "netfs" };
	static const char *const devices[] = { "logical", "disk", "scsi", "iscsi", "mpath" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (!strcmp(type, files[i]))
			return true;
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		if (!strcmp(type, devices[i])) {
			*block = true;
			return true;
		}
	}
	return false;
}

char *host_volume(struct px *px, const char *pool, const char *volume, bool *block, const char **why)
{
	const char *folder = NULL, *type;
	char *path = NULL;
	xmlDoc *doc;

	*block = false;
	if (!plain_name(volume) || !plain_name(pool)) {
		*why = "a pool and a volume are plain names without '/'; write <disk type='file'> with the path";
		return NULL;
	}
	doc = pool_xml(px, pool);
	if (doc) {
		xmlNode *root = xmlDocGetRootElement(doc);

		type = x_attr(root, "type");
		if (!type || pool_is_folder(type, block))
			folder = x_text(px, x_child(x_child(root, "target"), "path"));
		if (!folder || *folder != '/') {
			*why = "volumes of this pool are not files or devices; copy the volume to a raw file and write <disk type='file'>";
			goto out;
		}
	} else if (!strcmp(pool, "default")) {
		folder = "/var/lib/libvirt/images";
	} else {
		*why = "/etc/libvirt/storage has no readable file for this pool; write <disk type='file'> with <source file='PATH'/>";
		goto out;
	}
	if (asprintf(&path, "%s/%s", folder, volume) < 0)
		path = NULL;
out:
	if (doc)
		xmlFreeDoc(doc);
	return path;
}

static bool interface_exists(struct px *px, const char *name)
{
	char *path = NULL;
	bool yes;

	if (!plain_name(name) || asprintf(&path, "%s/sys/class/net/%s", px->sysroot, name) < 0)
		return false;
	yes = access(path, F_OK) == 0;
	free(path);
	return yes;
}

char *host_network_bridge(struct px *px, const char *network)
{
	xmlDoc *doc = host_xml(px, "/etc/libvirt/qemu/networks", network);
	const char *name = NULL;
	char *found = NULL;

	if (!doc)
		doc = host_xml(px, "/run/libvirt/network", network);
	if (doc)
		name = x_attr(x_child(xmlDocGetRootElement(doc), "bridge"), "name");
	if (!name && !strcmp(network, "default"))
		name = "virbr0";
	if (name && interface_exists(px, name))
		found = strdup(name);
	if (doc)
		xmlFreeDoc(doc);
	return found;
}
