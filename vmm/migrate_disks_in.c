// SPDX-License-Identifier: GPL-2.0-only
/* Disks that come with a guest: written to by an NBD client, before the guest has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "migrate_disks.h"
#include "number.h"
#include "sandbox.h"

/* A file's or a block device's. */
static uint64_t size_of(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);

	return end < 0 ? 0 : (uint64_t)end;
}

bool disks_in_add(struct disks_in *d, char *text)
{
	char *eq = strchr(text, '=');
	long fd;

	if (!eq || eq == text || (size_t)(eq - text) >= NBD_MAX_NAME || d->nr == MIRROR_MAX ||
	    !number_parse(eq + 1, 0, 1 << 20, &fd))
		return false;
	*eq = '\0';
	d->export[d->nr++] = (struct nbd_export){ .name = text, .fd = (int)fd, .size = size_of((int)fd) };
	return true;
}

static struct dom_disk *find(struct domain *dom, const char *target)
{
	for (unsigned int i = 0; i < dom->nr_disks; i++)
		if (dom->disk[i].target && !strcmp(dom->disk[i].target, target))
			return &dom->disk[i];
	return NULL;
}

int disks_in_apply(const struct disks_in *d, struct domain *dom)
{
	for (unsigned int i = 0; i < d->nr; i++) {
		struct dom_disk *k = find(dom, d->export[i].name);

		if (!k || k->nr_backing || k->format != DISK_RAW || k->transient || k->opened_as || !d->export[i].size) {
			log_error("--disk-fd %s: %s", d->export[i].name, k ? "it must be a raw disk, once" : "the XML has no such disk");
			return -1;
		}
		if (asprintf(&k->opened_as, "/proc/self/fd/%d", d->export[i].fd) < 0) {
			k->opened_as = NULL;
			return -1;
		}
	}
	return 0;
}

static void *serve(void *arg)
{
	struct disks_in_thread *t = arg;

	t->ret = nbd_serve(&t->of->server, t->sock, &t->why);
	/* The other side need not wait for answers that will not come. */
	if (t->ret)
		shutdown(t->sock, SHUT_RDWR);
	return NULL;
}

int disks_in_start(struct disks_in *d)
{
	int ret = 0;

	d->server = (struct nbd_server){ .export = d->export, .nr = d->nr };
	for (unsigned int i = 0; i < d->nr_socks && !ret; i++) {
		struct disks_in_thread *t = &d->thread[i];

		*t = (struct disks_in_thread){ .of = d, .sock = d->sock[i], .why = "" };
		ret = sandbox_thread(&t->thread, &(struct sandbox_thread){
			SANDBOX_MAIN, "serve-disk", .run = serve, .arg = t });
		t->started = !ret;
	}
	return ret;
}

static void join(struct disks_in *d)
{
	for (unsigned int i = 0; i < d->nr_socks; i++) {
		if (d->thread[i].started)
			pthread_join(d->thread[i].thread, NULL);
		d->thread[i].started = false;
	}
}

int disks_in_wait(struct disks_in *d, struct state_error *err)
{
	unsigned int i;

	join(d);
	for (i = 0; i < d->nr_socks; i++)
		if (d->thread[i].ret)
			return state_error(err, "a disk has not come whole: %s", d->thread[i].why);
	for (i = 0; i < d->nr; i++) {
		if (!atomic_load(&d->export[i].complete))
			return state_error(err, "disk %s has not come whole", d->export[i].name);
		/* The disk's own descriptor takes the locks when the guest is ours. */
		image_unlock(d->export[i].fd);
	}
	return 0;
}

void disks_in_stop(struct disks_in *d)
{
	atomic_store(&d->server.stop, true);
	for (unsigned int i = 0; i < d->nr_socks; i++)
		shutdown(d->sock[i], SHUT_RDWR);
}

void disks_in_end(struct disks_in *d)
{
	join(d);
	while (d->nr_socks)
		close(d->sock[--d->nr_socks]);
	while (d->nr)
		close(d->export[--d->nr].fd);
}
