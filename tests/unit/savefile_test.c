// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/savefile.c */
/* A guest is saved to a file while others have it saved, too: what is told of theirs is not of ours. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/rundir.h"
#include "cli/savefile.h"

static char dir[] = "/tmp/hvx-savefile.XXXXXX", path[sizeof(dir) + 16];
static const char *const *events;	/* that come, in this order */
static unsigned int conts;
static int state;			/* the file that was sent */

/* --- the control socket --- */

int control_send_fd(struct control *c, int fd, const char *name)
{
	(void)c;
	ck_assert_str_eq(name, "state");
	state = fd;
	return 0;
}

int control_do(struct control *c, const char *command, struct json_object *args, struct json_object **ret)
{
	(void)c;
	ck_assert_str_eq(command, "x-hvx-save");
	json_object_put(args);
	if (ret)
		*ret = json_tokener_parse("{\"save\": 7}");
	return 0;
}

int control_call(struct control *c, const char *command, struct json_object *args, struct json_object **ret)
{
	(void)c;
	(void)args;
	(void)ret;
	conts += !strcmp(command, "cont");
	return 0;
}

/* Ours is written when its event comes. */
struct json_object *control_event(struct control *c, int ms)
{
	struct json_object *o = *events ? json_tokener_parse(*events) : NULL;

	(void)c;
	(void)ms;
	if (*events && strstr(*events++, "\"save\": 7"))
		ck_assert_int_eq(write(state, "state", 5), 5);
	return o;
}

const char *control_error(const struct control *c)
{
	(void)c;
	return "";
}

void cli_error(const char *fmt, ...)
{
	(void)fmt;
}

char *rundir_find(const char *name)
{
	(void)name;
	return NULL;
}

/* --- */

#define DONE(number, how) \
	"{\"event\": \"X_HVX_SAVE_COMPLETED\", \"data\": {\"status\": \"" how "\", \"save\": " #number "}}"

static int save(const char *const *list)
{
	struct save_request r = { .quiet = true };

	events = list;
	return save_guest(NULL, "guest", path, &r);
}

static bool exists(void)
{
	return !access(path, F_OK);
}

START_TEST(others)
{
	static const char *const failed[] = { DONE(6, "completed"), DONE(7, "failed"), NULL };
	static const char *const gone[] = { DONE(6, "completed"), NULL };
	static const char *const done[] = { DONE(6, "failed"), DONE(7, "completed"), NULL };
	char text[8] = "";
	FILE *f;

	ck_assert_int_eq(save(failed), -1);
	ck_assert(!exists());
	ck_assert_int_eq(save(gone), -1);
	ck_assert(!exists());
	ck_assert_int_eq(save(done), 0);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	ck_assert_str_eq(text, "state");
	fclose(f);
	ck_assert_uint_eq(conts, 0);
}
END_TEST

static void begin(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
}

static void end(void)
{
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	Suite *s = suite_create("savefile");
	TCase *t = tcase_create("savefile");
	SRunner *sr;
	int failed;

	tcase_add_unchecked_fixture(t, begin, end);
	tcase_add_test(t, others);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
