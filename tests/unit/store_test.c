// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/stream.c vmm/state.c devices/device.c devices/storage/image.c devices/storage/overlay*.c devices/net/tap.c devices/net/user.c vmm/helper.c vmm/livexml.c vmm/cpu.c vmm/cpu_*.c vmm/cgroup.c vmm/sandbox.c vmm/log.c vmm/logfile.c cli/[!m]*.c vmm/domxml*.c vmm/config.c vmm/hvxapi.c vmm/hv_*.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c devices/storage/disklog.c devices/storage/aio.c vmm/loop.c vmm/qmp_frame.c */
/* The store of definitions: whole at any time, whoever writes. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/keepdef.h"
#include "cli/store.h"
#include "cli/xmledit.h"
#include "vmm/config.h"

static char dir[64], config[80];

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/hvx-store.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(config, sizeof(config), "%s/a/config", dir);
	setenv("HVX_CONFIG_DIR", config, 1);
}

static void teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* A definition whose length depends on n. */
static char *xml(const char *name, unsigned int n, const char *devices)
{
	char *text = NULL;

	ck_assert_int_gt(asprintf(&text, "<domain type='hvx'>\n  <name>%s</name>\n  <!-- %*s -->\n"
				  "  <memory unit='MiB'>%u</memory>\n  <os><type>hvm</type><kernel>vmlinuz</kernel>"
				  "<initrd>/boot/a,b</initrd></os>\n  <devices>%s</devices>\n</domain>\n", name,
				  (int)(n * 131 % 20000), "", 64 + n, devices), 0);
	return text;
}

static int define(const char *file, const char *name, unsigned int n, bool replace)
{
	char *text = xml(name, n, ""), *got = NULL;
	int ret = store_define(file, text, strlen(text), replace, &got);

	if (!ret)
		ck_assert_str_eq(got, name);
	free(got);
	free(text);
	return ret;
}

static unsigned int files(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned int n = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.' || (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, ".lock"));
	closedir(d);
	return n;
}

START_TEST(kept)
{
	char *text, *again;
	struct stat st;
	size_t len;

	ck_assert(!store_has("one"));
	ck_assert_int_eq(define("/tmp/one.xml", "one", 1, false), 0);
	ck_assert(store_has("one"));
	ck_assert_int_eq(stat(config, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0700);
	text = store_read("one", &len);
	ck_assert_ptr_nonnull(text);
	/* Whole paths, and a UUID that stays. */
	ck_assert_ptr_nonnull(strstr(text, "<kernel>/tmp/vmlinuz</kernel>"));
	ck_assert_ptr_nonnull(strstr(text, "<initrd>/boot/a,/tmp/b</initrd>"));
	ck_assert_ptr_nonnull(strstr(text, "<uuid>"));
	ck_assert_int_eq(store_define("x", text, len, true, &again), 0);
	free(again);
	again = store_read("one", &len);
	ck_assert_str_eq(again, text);
	free(again);
	free(text);
	/* Not twice where that is asked for; nothing that cannot be run; no name that leads elsewhere. */
	ck_assert_int_eq(define("x", "one", 2, false), -1);
	ck_assert_int_eq(define("x", "../one", 2, true), -1);
	ck_assert_int_eq(define("x", ".one", 2, true), -1);
	ck_assert_int_eq(store_define("x", "<domain/>", 9, true, &again), -1);
	ck_assert_int_eq(store_define("x", "", 0, true, &again), -1);
	ck_assert_ptr_null(store_path("../../etc/passwd"));
	ck_assert_ptr_null(store_read("nothing", &len));
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_uint_eq(files(config), 1);
	ck_assert_int_eq(store_remove("one"), 0);
	ck_assert_int_eq(store_remove("one"), -1);
	ck_assert_uint_eq(files(config), 0);
}
END_TEST

static bool count(void *opaque, const char *name, const char *path)
{
	ck_assert(strstr(path, name) != NULL);
	++*(int *)opaque;
	return true;
}

START_TEST(listed)
{
	int n = 0;

	store_each(count, &n);
	ck_assert_int_eq(n, 0);
	ck_assert_int_ne(access(config, F_OK), 0);	/* looking makes no folder */
	define("x", "a", 1, true);
	define("x", "b c", 1, true);
	define("x", "d.xml", 1, true);
	ck_assert_int_eq(store_set_autostart("a", true), 0);
	ck_assert_int_eq(store_set_autostart("a", true), 0);
	ck_assert(store_autostart("a"));
	ck_assert(!store_autostart("b c"));
	store_each(count, &n);
	ck_assert_int_eq(n, 3);
	ck_assert_int_eq(store_set_autostart("a", false), 0);
	ck_assert_int_eq(store_set_autostart("a", false), 0);
	ck_assert(!store_autostart("a"));
}
END_TEST

/* Eight write, all at once and without end; one reads: what it sees is always whole. */
START_TEST(many_writers)
{
	pid_t pid[8];
	size_t len;
	char *text;

	define("x", "g", 0, true);
	for (unsigned int i = 0; i < 8; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			for (unsigned int n = i; ; n += 8)
				define("x", "g", n % 500, true);
		}
	}
	for (int i = 0; i < 400; i++) {
		struct domain *dom;

		text = store_read("g", &len);
		ck_assert_ptr_nonnull(text);
		dom = store_parse("x", text, len, false);
		ck_assert_ptr_nonnull(dom);
		domain_free(dom);
		free(text);
	}
	/* Killed wherever they are: the definition is whole, the lock is free. */
	for (unsigned int i = 0; i < 8; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	text = store_read("g", &len);
	ck_assert_ptr_nonnull(text);
	free(text);
	ck_assert_int_eq(define("x", "g", 3, true), 0);
}
END_TEST

/* Of many that define a new guest, one does. */
START_TEST(one_is_first)
{
	pid_t pid[16];
	int won = 0, status;

	for (int i = 0; i < 16; i++) {
		pid[i] = fork();
		if (!pid[i])
			_exit(define("x", "g", (unsigned int)i, false) ? 1 : 0);
	}
	for (int i = 0; i < 16; i++) {
		waitpid(pid[i], &status, 0);
		won += WIFEXITED(status) && !WEXITSTATUS(status);
	}
	ck_assert_int_eq(won, 1);
}
END_TEST

START_TEST(edits)
{
	char *text = xml("a", 1, "<disk type='file' device='disk'><source file='d.img'/><target dev='vda' bus='virtio'/></disk>"
			 "<interface type='user'><mac address='52:54:00:11:22:33'/></interface>");
	xmlDoc *doc = xmledit_open(text, strlen(text));
	uint8_t uuid[16] = { 0xde, 0xad };
	size_t len;

	free(text);
	ck_assert_ptr_nonnull(doc);
	ck_assert_int_eq(xmledit_absolute(doc, "/usr/x.xml"), 0);
	xmledit_move_disk(doc, "/usr/d.img", "/usr/<new>&.img");
	xmledit_drop_macs(doc);
	xmledit_set(doc, "name", "<b>");
	xmledit_set_uuid(doc, uuid);
	xmledit_set_uuid(doc, uuid);
	text = xmledit_text(doc, &len);
	ck_assert_ptr_nonnull(strstr(text, "<name>&lt;b&gt;</name>"));
	ck_assert_ptr_nonnull(strstr(text, "<uuid>dead0000-0000-0000-0000-000000000000</uuid>"));
	ck_assert_ptr_null(strstr(strstr(text, "<uuid>") + 1, "<uuid>"));
	ck_assert_ptr_nonnull(strstr(text, "/usr/&lt;new&gt;&amp;.img"));
	ck_assert_ptr_null(strstr(text, "52:54"));
	free(text);
	xmlFreeDoc(doc);
}
END_TEST

/* A disk of layers, as it is on a host that has only a copy. */
START_TEST(flattened)
{
	char *text = xml("a", 1, "<disk type='file' device='disk'><driver type='hvx-layer' cache='none'/><source file='/i/web.img.hvx-2'/>"
			 "<backingStore type='file'><format type='hvx-layer'/><source file='/i/web.img.hvx-1'/>"
			 "<backingStore type='file'><format type='raw'/><source file='/i/web.img'/></backingStore></backingStore>"
			 "<target dev='vda' bus='virtio'/></disk>"
			 "<disk type='file' device='disk'><driver type='hvx-layer'/><source file='/i/b.img.hvx-1'/>"
			 "<backingStore type='file'><format type='raw'/><source file='/i/b.img'/></backingStore>"
			 "<target dev='vdb' bus='virtio'/></disk>"
			 "<disk type='file' device='disk'><source file='/i/c.img'/><target dev='vdc' bus='virtio'/></disk>");
	xmlDoc *doc = xmledit_open(text, strlen(text));
	size_t len;

	free(text);
	ck_assert_ptr_nonnull(doc);
	xmledit_flatten_disk(doc, "vda");
	xmledit_flatten_disk(doc, "vdc");
	xmledit_flatten_disk(doc, "vdx");
	text = xmledit_text(doc, &len);
	ck_assert_ptr_nonnull(strstr(text, "<driver type=\"raw\" cache=\"none\"/><source file=\"/i/web.img\"/><target dev=\"vda\""));
	ck_assert_ptr_null(strstr(text, "web.img.hvx"));
	/* The others stay as they are. */
	ck_assert_ptr_nonnull(strstr(text, "<driver type=\"hvx-layer\"/><source file=\"/i/b.img.hvx-1\"/><backingStore"));
	ck_assert_ptr_nonnull(strstr(text, "<source file=\"/i/c.img\"/><target dev=\"vdc\""));
	free(text);
	xmlFreeDoc(doc);
}
END_TEST

static char *with_uuid(const char *name, const char *uuid)
{
	char *text = xml(name, 1, ""), *out = NULL, *at = strstr(text, "</name>") + 7;

	ck_assert_int_gt(asprintf(&out, "%.*s<uuid>%s</uuid>%s", (int)(at - text), text, uuid, at), 0);
	free(text);
	return out;
}

#define UUID_A "5d5c8d0e-4a6c-4c29-8d25-2b9d2ee7a001"
#define UUID_B "5d5c8d0e-4a6c-4c29-8d25-2b9d2ee7a002"

static int keep(struct keepdef *k, const char *text, const char *name, const char *uuid, char why[512])
{
	return keepdef_open(k, "(incoming guest)", text, strlen(text), name, uuid, why, 512);
}

/* A guest's definition that comes from elsewhere. */
START_TEST(comes)
{
	char *text = with_uuid("far", UUID_A), *mine = with_uuid("near", UUID_B), *now, *name, why[512];
	struct keepdef k;
	size_t len;

	/* Under the name that it has here; nothing before it is said. */
	ck_assert_msg(!keep(&k, text, "here", "", why), "%s", why);
	ck_assert(!store_has("here") && !store_has("far"));
	ck_assert_int_eq(keepdef_write(&k), 0);
	now = store_read("here", &len);
	ck_assert_ptr_nonnull(strstr(now, "<name>here</name>"));
	ck_assert_ptr_nonnull(strstr(now, UUID_A));
	ck_assert_ptr_nonnull(strstr(now, "<initrd>/boot/a,"));
	/* The guest did not run. */
	keepdef_undo(&k);
	ck_assert(!store_has("here"));
	keepdef_close(&k);
	/* Over an earlier one of the same guest, and back; then not back, as somebody changed it. */
	ck_assert_int_eq(store_write("here", now, len), 0);
	ck_assert_msg(!keep(&k, text, "here", UUID_B, why), "%s", why);
	k.text[strlen(k.text) - 1] = ' ';	/* no more the same text */
	ck_assert_int_eq(keepdef_write(&k), 0);
	keepdef_undo(&k);
	free(now);
	now = store_read("here", &len);
	ck_assert_int_eq(now[len - 1], '\n');
	ck_assert_int_eq(keepdef_write(&k), 0);
	ck_assert_int_eq(store_write("here", now, len), 0);
	keepdef_undo(&k);
	ck_assert(store_has("here"));
	keepdef_close(&k);
	ck_assert_int_eq(store_remove("here"), 0);
	/* Another guest's name, or UUID; also where it comes between the two. */
	ck_assert_int_eq(store_define("x", mine, strlen(mine), false, &name), 0);
	free(name);
	ck_assert_int_eq(keep(&k, text, "near", "", why), -1);
	ck_assert_msg(strstr(why, "another guest called near"), "%s", why);
	free(text);
	text = with_uuid("far", UUID_B);
	ck_assert_int_eq(keep(&k, text, "far", "", why), -1);
	ck_assert_msg(strstr(why, "called near there"), "%s", why);
	ck_assert_msg(!keep(&k, text, "near", "", why), "%s", why);
	ck_assert_int_eq(store_remove("near"), 0);
	free(mine);
	mine = with_uuid("near", UUID_A);
	ck_assert_int_eq(store_define("x", mine, strlen(mine), false, &name), 0);
	free(name);
	ck_assert_int_eq(keepdef_write(&k), -1);
	keepdef_undo(&k);
	keepdef_close(&k);
	free(now);
	now = store_read("near", &len);
	ck_assert_ptr_nonnull(strstr(now, UUID_A));
	free(now);
	ck_assert_int_eq(store_remove("near"), 0);
	/* Its UUID where the text has none; what a peer may send. */
	free(text);
	text = xml("far", 1, "");
	ck_assert_msg(!keep(&k, text, "far", UUID_A, why), "%s", why);
	ck_assert_ptr_nonnull(strstr(k.text, UUID_A));
	keepdef_close(&k);
	ck_assert_int_eq(keep(&k, text, "far", "</uuid><x/>", why), -1);
	ck_assert_int_eq(keep(&k, text, "../far", "", why), -1);
	ck_assert_int_eq(keep(&k, "<domain/>", "far", "", why), -1);
	ck_assert_int_eq(keep(&k, "", "far", "", why), -1);
	ck_assert_uint_eq(files(config), 0);
	free(text);
	free(mine);
}
END_TEST

/* Exit status of a verb in a child; what it prints goes to the file out. */
static int verb(char *const argv[])
{
	int argc = 0, status;
	char out[96];
	pid_t pid;

	snprintf(out, sizeof(out), "%s/out", dir);
	while (argv[argc])
		argc++;
	pid = fork();
	if (!pid) {
		dup2(open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
		status = cli_main(argc, (char **)argv);
		fflush(NULL);
		_exit(status);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}
#define VERB(...) verb((char *[]){ "hvx", __VA_ARGS__, NULL })

/* Whether that file of the test's has these words. */
static bool has(const char *name, const char *words)
{
	char path[96], text[4096];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = '\0';
	return strstr(text, words);
}

/* A systemctl that writes down what it is asked for, and does as `status` says. */
static void fake_systemctl(int status)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/systemctl", dir);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "#!/bin/sh\necho \"$*\" > %s/asked\nexit %d\n", dir, status);
	fclose(f);
	ck_assert_int_eq(chmod(path, 0700), 0);
}

START_TEST(verbs_autostart)
{
	char *old = strdup(getenv("PATH")), *path = NULL;

	ck_assert_int_gt(asprintf(&path, "%s:%s", dir, old), 0);
	setenv("PATH", path, 1);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	ck_assert_int_eq(define("x", "web", 0, false), 0);
	fake_systemctl(0);
	ck_assert(!store_autostart("web"));
	ck_assert_int_eq(VERB("autostart", "web"), VMM_OK);
	ck_assert(store_autostart("web"));
	ck_assert(has("asked", "enable hvx@web.service"));
	ck_assert_int_eq(VERB("list", "--all", "--autostart", "--name"), VMM_OK);
	ck_assert(has("out", "web"));
	ck_assert_int_eq(VERB("autostart", "--disable", "web"), VMM_OK);
	ck_assert(!store_autostart("web"));
	ck_assert(has("asked", "disable hvx@web.service"));
	/* Where systemd does not do it, nothing is noted; nor of a guest that is not there. */
	fake_systemctl(1);
	ck_assert_int_eq(VERB("autostart", "web"), VMM_ERR_SETUP);
	ck_assert(!store_autostart("web"));
	ck_assert_int_eq(VERB("autostart", "nobody"), VMM_ERR_SETUP);
	setenv("PATH", old, 1);
	free(path);
	free(old);
}
END_TEST

START_TEST(verbs_blkiotune)
{
	setenv("XDG_RUNTIME_DIR", dir, 1);
	ck_assert_int_eq(define("x", "web", 0, false), 0);
	ck_assert_int_eq(VERB("blkiotune", "web"), VMM_OK);
	ck_assert(has("out", "not set"));
	ck_assert_int_eq(VERB("blkiotune", "--weight", "200", "web"), VMM_OK);
	ck_assert_int_eq(VERB("blkiotune", "--config", "web"), VMM_OK);
	ck_assert(has("out", ": 200\n"));
	ck_assert_int_ne(VERB("blkiotune", "--config", "--weight", "20000", "web"), VMM_OK);
	ck_assert_int_eq(VERB("dumpxml", "--inactive", "web"), VMM_OK);
	ck_assert(has("out", "<weight>200</weight>"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("store");
	SRunner *sr;
	int failed, null = open("/dev/null", O_WRONLY);

	dup2(null, STDERR_FILENO);	/* the verbs' complaints */
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, kept);
	tcase_add_test(tc, listed);
	tcase_add_test(tc, many_writers);
	tcase_add_test(tc, one_is_first);
	tcase_add_test(tc, edits);
	tcase_add_test(tc, flattened);
	tcase_add_test(tc, comes);
	tcase_add_test(tc, verbs_autostart);
	tcase_add_test(tc, verbs_blkiotune);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
