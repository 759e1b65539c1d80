// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/gdb_packet.c vmm/gdb_regs.c */
/* GDB's protocol: framing under whatever a peer sends, numbers, registers and their description. */
#include <check.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/gdb_packet.h"
#include "vmm/gdb_regs.h"

static struct gdb_framer f;

/* The event of the last byte; all before it must give none. */
static enum gdb_event feed(const char *bytes, size_t len)
{
	enum gdb_event e = GDB_NONE;

	for (size_t i = 0; i < len; i++) {
		if (e != GDB_NONE)
			ck_abort_msg("event %d before byte %zu", e, i);
		e = gdb_feed(&f, (uint8_t)bytes[i]);
	}
	return e;
}
#define FEED(s) feed(s, sizeof(s) - 1)

static void reset(void)
{
	memset(&f, 0, sizeof(f));
}

START_TEST(framing)
{
	ck_assert_int_eq(FEED("$g#67"), GDB_PACKET);
	ck_assert_str_eq(f.data, "g");
	ck_assert_int_eq(FEED("$#00"), GDB_PACKET);
	ck_assert_uint_eq(f.len, 0);
	ck_assert_int_eq(FEED("+"), GDB_ACK);
	ck_assert_int_eq(FEED("-"), GDB_NAK);
	ck_assert_int_eq(FEED("\x03"), GDB_INTERRUPT);
	ck_assert_int_eq(FEED("$g#68"), GDB_BAD);
	ck_assert_int_eq(FEED("$g#6z"), GDB_BAD);
	ck_assert_int_eq(FEED("$g#z7"), GDB_BAD);
	/* Cut short by the next one; escapes; ^C inside is data. */
	ck_assert_int_eq(FEED("$abc$g#67"), GDB_PACKET);
	ck_assert_uint_eq(f.len, 1);
	ck_assert_int_eq(FEED("$}\x03}\x04\x03#05"), GDB_BAD);
	ck_assert_int_eq(FEED("$}\x03}\x04\x03#04"), GDB_PACKET);
	ck_assert_mem_eq(f.data, "#$\x03", 3);
}
END_TEST

START_TEST(aliens)
{
	static const char *const others[] = { "GET / HTTP/1.1\r\n", "POST", "\x16\x03\x01", "SSH-2.0", "\n", "{", "" };

	for (size_t i = 0; *others[i]; i++) {
		reset();
		ck_assert_int_eq(gdb_feed(&f, (uint8_t)others[i][0]), others[i][0] == 3 ? GDB_INTERRUPT : GDB_ALIEN);
	}
}
END_TEST

START_TEST(too_long)
{
	static char long_one[GDB_MAX_PACKET + 600];
	uint8_t sum = 0;
	char end[4];

	memset(long_one, 'a', sizeof(long_one));
	for (size_t n = GDB_MAX_PACKET - 1; n <= GDB_MAX_PACKET + 2; n++) {
		reset();
		sum = (uint8_t)('a' * n);
		ck_assert_int_eq(FEED("$"), GDB_NONE);
		ck_assert_int_eq(feed(long_one, n), GDB_NONE);
		snprintf(end, sizeof(end), "#%02x", sum);
		ck_assert_int_eq(feed(end, 3), n <= GDB_MAX_PACKET ? GDB_PACKET : GDB_BAD);
		ck_assert_uint_le(f.len, GDB_MAX_PACKET);
	}
	/* Without end: for ever in bounds. */
	reset();
	ck_assert_int_eq(FEED("$"), GDB_NONE);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(feed(long_one, sizeof(long_one)), GDB_NONE);
	ck_assert_int_eq(FEED("$g#67"), GDB_PACKET);
}
END_TEST

START_TEST(frames)
{
	static const char data[] = "a#b$c}d*e\0f";
	char out[64];
	size_t n = gdb_frame(data, sizeof(data) - 1, out);

	ck_assert_int_eq(feed(out, n), GDB_PACKET);
	ck_assert_uint_eq(f.len, sizeof(data) - 1);
	ck_assert_mem_eq(f.data, data, f.len);
	/* Every byte value there and back. */
	for (unsigned int c = 0; c < 256; c++) {
		char one = (char)c;

		n = gdb_frame(&one, 1, out);
		ck_assert_int_eq(feed(out, n), GDB_PACKET);
		ck_assert_mem_eq(f.data, &one, 1);
	}
}
END_TEST

START_TEST(numbers)
{
	const char *p = "1f,-1:ffffffffffffffff;10000000000000000";
	uint8_t b[4];
	uint64_t u;
	int64_t s;

	ck_assert(gdb_hex(&p, &u) && u == 0x1f && gdb_char(&p, ',') && !gdb_hex(&p, &u));
	ck_assert(gdb_hex_signed(&p, &s) && s == -1 && gdb_char(&p, ':'));
	ck_assert(gdb_hex(&p, &u) && u == UINT64_MAX && !gdb_char(&p, ':') && gdb_char(&p, ';'));
	ck_assert(!gdb_hex(&p, &u) && *p == '1');
	p = "ffffffffffffffff";
	ck_assert(!gdb_hex_signed(&p, &s));
	p = "";
	ck_assert(!gdb_hex(&p, &u) && !gdb_hex_signed(&p, &s) && !gdb_char(&p, ';') && !gdb_word(&p, "a"));
	ck_assert(gdb_bytes(&p, b, 0) && !gdb_bytes(&p, b, 1));
	p = "0aFfz";
	ck_assert(gdb_bytes(&p, b, 2) && b[0] == 10 && b[1] == 255 && !gdb_bytes(&p, b, 1) && *p == 'z');
	p = "a";
	ck_assert(!gdb_bytes(&p, b, 1));
}
END_TEST

START_TEST(description)
{
	const char *xml = gdb_target_xml();
	xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), "target.xml", NULL, XML_PARSE_NONET);
	unsigned int n = 0, bytes = 0;

	ck_assert_ptr_nonnull(doc);
	for (xmlNode *feature = xmlDocGetRootElement(doc)->children; feature; feature = feature->next)
		for (xmlNode *reg = feature->children; reg; reg = reg->next) {
			char *num, *bits;

			if (xmlStrcmp(reg->name, BAD_CAST "reg"))
				continue;
			num = (char *)xmlGetProp(reg, BAD_CAST "regnum");
			bits = (char *)xmlGetProp(reg, BAD_CAST "bitsize");
			ck_assert_int_eq(atoi(num), (int)n);
			ck_assert_int_eq(atoi(bits), 8 * (int)gdb_reg_size(n));
			ck_assert_uint_le(gdb_reg_size(n), GDB_MAX_REG);
			bytes += gdb_reg_size(n++);
			xmlFree(num);
			xmlFree(bits);
		}
	ck_assert_uint_eq(n, GDB_REGS);
	ck_assert_uint_eq(bytes, GDB_ALL_REGS);
	xmlFreeDoc(doc);
}
END_TEST

START_TEST(registers)
{
	uint8_t v[GDB_MAX_REG], w[GDB_MAX_REG];
	struct gdb_cpu c;
	uint32_t tag;
	uint64_t u;

	memset(&c, 0, sizeof(c));
	c.regs.rbx = 0x1111;
	c.regs.rsp = 0x2222;
	c.regs.rip = 0x3333;
	c.regs.rflags = 0x202;
	c.sregs.cs.selector = 0x10;
	c.sregs.gs.base = 0x4444;
	c.sregs.cr3 = 0x5555;
	gdb_reg_get(&c, 1, &u);
	ck_assert_uint_eq(u, 0x1111);
	gdb_reg_get(&c, 7, &u);
	ck_assert_uint_eq(u, 0x2222);
	gdb_reg_get(&c, 16, &u);
	ck_assert_uint_eq(u, 0x3333);
	gdb_reg_get(&c, 58, &u);
	ck_assert_uint_eq(u, 0x4444);
	gdb_reg_get(&c, 61, &u);
	ck_assert_uint_eq(u, 0x5555);
	/* Nothing in use: the initial values, not what lies in the area. */
	memset(c.fx, 0xa5, 512);
	gdb_reg_get(&c, 40, v);
	memset(w, 0, sizeof(w));
	ck_assert_mem_eq(v, w, 16);
	gdb_reg_get(&c, 34, &tag);
	ck_assert_uint_eq(tag, 0xffff);
	gdb_reg_get(&c, 56, &tag);
	ck_assert_uint_eq(tag, 0x1f80);
	/* Each can be written, reads back, and leaves the others alone; selectors cannot. */
	for (unsigned int n = 0; n < GDB_REGS; n++) {
		uint8_t before[GDB_REGS][GDB_MAX_REG];
		bool selector = n >= 18 && n <= 23;

		for (unsigned int i = 0; i < GDB_REGS; i++)
			gdb_reg_get(&c, i, before[i]);
		memcpy(v, before[n], sizeof(v));
		v[0] ^= n == 34 ? 3 : 1;
		c.dirty = 0;
		ck_assert_int_eq(gdb_reg_set(&c, n, v), !selector);
		ck_assert_int_eq(c.dirty != 0, !selector);
		for (unsigned int i = 0; i < GDB_REGS; i++) {
			gdb_reg_get(&c, i, w);
			ck_assert_msg(!memcmp(w, i == n && !selector ? v : before[i], gdb_reg_size(i)), "%u by %u", i, n);
		}
		ck_assert(gdb_reg_set(&c, n, selector ? before[n] : v));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gdb");
	TCase *tc = tcase_create("gdb");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);	/* against hangs only */
	tcase_add_checked_fixture(tc, reset, NULL);
	tcase_add_test(tc, framing);
	tcase_add_test(tc, aliens);
	tcase_add_test(tc, too_long);
	tcase_add_test(tc, frames);
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, description);
	tcase_add_test(tc, registers);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
