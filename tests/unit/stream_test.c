// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/stream.c vmm/stream_ram.c vmm/state.c devices/device.c vmm/log.c */
/* The stream's sections and its memory: round trips, every truncation, every bit, and lies with right checksums. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vmm/stream_ram.h"

#define MIB	(1U << 20)

static int file(void)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static int file_of(const uint8_t *data, size_t len)
{
	int fd = file();

	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static uint8_t *contents(int fd, size_t *len)
{
	uint8_t *data;

	*len = (size_t)lseek(fd, 0, SEEK_END);
	data = malloc(*len);
	ck_assert_int_eq(pread(fd, data, *len, 0), (ssize_t)*len);
	lseek(fd, 0, SEEK_SET);
	return data;
}

static void small_stream(int fd)
{
	struct state_error err = { .text = "" };
	struct stream_out o;

	ck_assert_int_eq(stream_begin(&o, fd, 12345, &err), 0);
	ck_assert_int_eq(stream_put(&o, SEC_XML, "<domain/>", 9, &err), 0);
	ck_assert_int_eq(stream_put(&o, SEC_DEVICE, "", 0, &err), 0);
	ck_assert_int_eq(stream_put2(&o, SEC_CLOCK, "12", 2, "345678", 6, &err), 0);
	ck_assert_int_eq(stream_end(&o, &err), 0);
}

/* 0: read to its end, as it was written. */
static int read_small(int fd, struct state_error *err)
{
	static const struct { uint32_t type; const char *data; } want[] = {
		{ SEC_XML, "<domain/>" }, { SEC_DEVICE, "" }, { SEC_CLOCK, "12345678" },
	};
	struct sbuf b = { 0 };
	struct stream_in in;
	uint64_t plain, len;
	uint32_t type;
	unsigned int i;
	int ret = stream_open(&in, fd, err);

	for (i = 0; !ret && i < 4; i++) {
		ret = stream_next(&in, &type, &b, &plain, &len, err);
		if (ret)
			break;
		if (i == 3) {
			ck_assert_uint_eq(type, SEC_END);
			ck_assert_uint_eq(in.saved_at, 12345);
		} else {
			ck_assert_uint_eq(type, want[i].type);
			ck_assert_uint_eq(b.len, strlen(want[i].data));
			ck_assert_int_eq(memcmp(b.data, want[i].data, b.len), 0);
		}
	}
	sbuf_free(&b);
	return ret;
}

START_TEST(sections)
{
	struct state_error err = { .text = "" };
	int fd = file();

	small_stream(fd);
	lseek(fd, 0, SEEK_SET);
	ck_assert_msg(!read_small(fd, &err), "%s", err.text);
	close(fd);
}
END_TEST

START_TEST(cut_off_anywhere)
{
	int fd = file();
	uint8_t *data;
	size_t len, n;

	small_stream(fd);
	data = contents(fd, &len);
	for (n = 0; n < len; n++) {
		struct state_error err = { .text = "" };
		int part = file_of(data, n);

		ck_assert_int_eq(read_small(part, &err), -EINVAL);
		ck_assert_msg(strstr(err.text, "cut off"), "%zu: %s", n, err.text);
		close(part);
	}
	free(data);
	close(fd);
}
END_TEST

START_TEST(any_bit_of_it)
{
	int fd = file();
	uint8_t *data;
	size_t len, bit;

	small_stream(fd);
	data = contents(fd, &len);
	for (bit = 0; bit < len * 8; bit++) {
		struct state_error err = { .text = "" };
		int part;

		data[bit / 8] ^= 1 << bit % 8;
		part = file_of(data, len);
		ck_assert_msg(read_small(part, &err) == -EINVAL, "bit %zu makes no difference", bit);
		ck_assert(err.text[0]);
		close(part);
		data[bit / 8] ^= 1 << bit % 8;
	}
	free(data);
	close(fd);
}
END_TEST

/* ------------------------------------------------------------------- memory */

struct ram {
	int fd;
	uint8_t *base;
	uint64_t size;
	/* with fd -1: what it is a private copy of */
	int source, pagemap;
	uint64_t offset;
};

static struct ram ram_new(uint64_t size)
{
	struct ram r = { .fd = file(), .size = size };

	ck_assert_int_eq(ftruncate(r.fd, (off_t)size), 0);
	r.base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
	ck_assert_ptr_ne(r.base, MAP_FAILED);
	return r;
}

static void ram_free(struct ram *r)
{
	munmap(r->base, r->size);
	close(r->fd);
}

/* Text, noise, holes, single pages, and a last chunk that is short. */
static struct ram example(void)
{
	struct ram r = ram_new(9 * MIB + 12 * RAM_PAGE);
	uint64_t x = 1, i;

	for (i = 0; i < 2 * MIB; i += 8)
		memcpy(r.base + i, "all work", 8);
	for (i = 3 * MIB; i < 4 * MIB; i += 8) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		memcpy(r.base + i, &x, 8);
	}
	r.base[5 * MIB + 7 * RAM_PAGE + 4095] = 1;
	r.base[7 * MIB - 1] = 2;
	r.base[r.size - 1] = 3;
	return r;
}

static void run_threads(void (*fn)(void *), void *arg)
{
	pthread_t t[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, (void *(*)(void *))(void *)fn, arg), 0);
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

static int save_ram(struct ram *r, int fd, enum ram_form form, struct state_error *err)
{
	struct stream_out o;
	struct ram_job j;
	int ret;

	ck_assert_int_eq(ram_job_init(&j, r->base, r->size, r->fd), 0);
	if (r->fd < 0) {
		j.source = r->source;
		j.source_offset = r->offset;
		j.pagemap = r->pagemap;
	}
	ret = stream_begin(&o, fd, 0, err) ?: ram_save_begin(&j, &o, form, err);
	if (!ret) {
		run_threads(ram_save_work, &j);
		ret = ram_save_end(&j, err) ?: stream_end(&o, err);
	}
	if (!ret) {
		ck_assert_uint_eq(j.done, r->size);
		ck_assert_uint_le(j.zero, r->size);
	}
	ram_job_free(&j);
	return ret;
}

static int load_ram(struct ram *r, int fd, struct state_error *err)
{
	struct sbuf b = { 0 };
	struct stream_in in;
	struct ram_job j;
	uint64_t plain, len;
	uint32_t type = 0;
	int ret;

	lseek(fd, 0, SEEK_SET);
	ck_assert_int_eq(ram_job_init(&j, r->base, r->size, r->fd), 0);
	ret = stream_open(&in, fd, err) ?: stream_next(&in, &type, &b, &plain, &len, err);
	if (!ret && type != SEC_RAM)
		ret = -EINVAL;
	ret = ret ?: ram_load_begin(&j, &in, &b, err);
	if (!ret) {
		run_threads(ram_load_work, &j);
		ret = ram_load_end(&j, err);
	}
	if (!ret)
		ret = stream_next(&in, &type, &b, &plain, &len, err);
	if (!ret && type != SEC_END)
		ret = state_error(err, "no end");
	sbuf_free(&b);
	ram_job_free(&j);
	return ret;
}

static uint64_t blocks(int fd)
{
	uint64_t n = 0;
	off_t at = 0, end;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		n += (uint64_t)(end - at);
		at = end;
	}
	return n / RAM_PAGE;
}

START_TEST(memory)
{
	struct ram in = example(), out = ram_new(in.size);
	struct state_error err = { .text = "" };
	uint64_t before = blocks(in.fd);
	int fd = file();

	ck_assert_msg(!save_ram(&in, fd, (enum ram_form)_i, &err), "%s", err.text);
	ck_assert_msg(blocks(in.fd) == before, "saving made pages of holes");
	ck_assert_msg(!load_ram(&out, fd, &err), "%s", err.text);
	ck_assert_uint_eq(blocks(out.fd), 2 * 256 + 256 + 3);
	ck_assert_int_eq(memcmp(in.base, out.base, in.size), 0);
	ram_free(&in);
	ram_free(&out);
	close(fd);
}
END_TEST

/* A private copy of a part of a file, with pages of its own: they are saved, and the file's holes stay. */
START_TEST(private_memory)
{
	struct ram from = example(), in = { .fd = -1 }, out;
	struct state_error err = { .text = "" };
	uint64_t before;
	int fd = file();

	in.offset = MIB;
	in.size = from.size - in.offset;
	in.source = from.fd;
	in.base = mmap(NULL, in.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, from.fd, (off_t)in.offset);
	ck_assert_ptr_ne(in.base, MAP_FAILED);
	in.pagemap = _i & 1 ? open("/proc/self/pagemap", O_RDONLY) : -1;
	in.base[0] = 'X';			/* over the file's data */
	in.base[6 * MIB + 5] = 'Y';		/* over a hole */
	memset(in.base + 2 * MIB + 4096, 0, 4096);	/* zeroes over data */
	before = blocks(from.fd);
	ck_assert_msg(!save_ram(&in, fd, (enum ram_form)(_i >> 1), &err), "%s", err.text);
	if (in.pagemap >= 0)
		ck_assert_msg(blocks(from.fd) == before, "saving made pages of holes");
	out = ram_new(in.size);
	ck_assert_msg(!load_ram(&out, fd, &err), "%s", err.text);
	ck_assert_uint_eq(blocks(out.fd), 256 + 255 + 3 + 1);
	ck_assert_int_eq(memcmp(in.base, out.base, in.size), 0);
	munmap(in.base, in.size);
	if (in.pagemap >= 0)
		close(in.pagemap);
	ram_free(&from);
	ram_free(&out);
	close(fd);
}
END_TEST

/* What forks map is page-aligned, and has holes for zeroes. */
START_TEST(plain_memory_can_be_mapped)
{
	struct ram in = example();
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	struct stream_in s;
	uint64_t plain = 0, len = 0;
	uint32_t type;
	uint8_t *map;
	int fd = file();

	ck_assert_int_eq(save_ram(&in, fd, RAM_PLAIN, &err), 0);
	lseek(fd, 0, SEEK_SET);
	ck_assert_int_eq(stream_open(&s, fd, &err), 0);
	do {
		ck_assert_int_eq(stream_next(&s, &type, &b, &plain, &len, &err), 0);
	} while (type != SEC_RAM_PLAIN);
	ck_assert_uint_eq(plain % 4096, 0);
	ck_assert_uint_eq(len, in.size);
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, (off_t)plain);
	ck_assert_ptr_ne(map, MAP_FAILED);
	ck_assert_uint_le(blocks(fd), 2 * 256 + 256 + 3 + 3);
	ck_assert_int_eq(memcmp(map, in.base, len), 0);
	munmap(map, len);
	sbuf_free(&b);
	ram_free(&in);
	close(fd);
}
END_TEST

START_TEST(damaged_memory)
{
	struct ram in = example(), out = ram_new(in.size);
	struct state_error err = { .text = "" };
	int fd = file();
	size_t len, i;
	uint8_t *data;

	ck_assert_int_eq(save_ram(&in, fd, (enum ram_form)_i, &err), 0);
	data = contents(fd, &len);
	for (i = 0; i < len; i += 1 + len / 150) {
		int bad;

		data[i] ^= 0x10;
		bad = file_of(data, len);
		err.text[0] = '\0';
		ck_assert_msg(load_ram(&out, bad, &err), "byte %zu makes no difference", i);
		ck_assert(err.text[0]);
		close(bad);
		data[i] ^= 0x10;
		bad = file_of(data, i);
		err.text[0] = '\0';
		ck_assert(load_ram(&out, bad, &err));
		close(bad);
	}
	free(data);
	ram_free(&in);
	ram_free(&out);
	close(fd);
}
END_TEST

/* Sections with right checksums that say what cannot be. */
static void expect_lie(const uint8_t *head, size_t head_len, const char *why)
{
	/* The other chunk is as it should be: several threads look, and the first complaint counts. */
	static const uint8_t good[48] = { [2] = 0x10, [13] = 0x10 };
	bool twice = strstr(why, "twice");
	struct ram out = ram_new(2 * MIB);
	struct state_error err = { .text = "" };
	uint8_t ram[16] = { 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 32, 0, 0, 0, 0, 0 };
	struct stream_out o;
	int fd = file();

	stream_begin(&o, fd, 0, &err);
	stream_put(&o, SEC_RAM, ram, sizeof(ram), &err);
	stream_put(&o, SEC_RAM_CHUNK, head, head_len, &err);
	stream_put(&o, SEC_RAM_CHUNK, twice ? head : good, twice ? head_len : sizeof(good), &err);
	stream_end(&o, &err);
	ck_assert_int_eq(load_ram(&out, fd, &err), -EINVAL);
	ck_assert_msg(strstr(err.text, why), "%s", err.text);
	close(fd);
	ram_free(&out);
}

START_TEST(lies_about_memory)
{
	uint8_t head[48] = { 0 };

	head[13] = 0x10;	/* pages of 4096 */
	expect_lie(head, 20, "a chunk of memory");
	expect_lie(head, 48, "comes twice");
	head[0] = 1;
	expect_lie(head, 48, "a chunk of memory at 0x1");
	head[0] = 0;
	head[3] = 0x10;
	expect_lie(head, 48, "a chunk of memory at 0x10000000");
	head[3] = 0;
	head[8] = 1;
	expect_lie(head, 48, "0 pages where 1 are announced");
	head[16] = 1;
	expect_lie(head, 48, "cannot be uncompressed");
	head[13] = 0;
	expect_lie(head, 48, "a chunk of memory");
}
END_TEST

START_TEST(another_size)
{
	struct ram in = example(), out = ram_new(4 * MIB);
	struct state_error err = { .text = "" };
	int fd = file();

	ck_assert_int_eq(save_ram(&in, fd, RAM_ZSTD, &err), 0);
	ck_assert_int_eq(load_ram(&out, fd, &err), -EINVAL);
	ck_assert_str_eq(err.text, "9 MiB of memory, the XML says 4 MiB");
	ram_free(&in);
	ram_free(&out);
	close(fd);
}
END_TEST

START_TEST(no_room)
{
	struct ram in = example();
	struct state_error err = { .text = "" };
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(save_ram(&in, fd, RAM_ZSTD, &err), -ENOSPC);
	ck_assert_msg(strstr(err.text, "No space left"), "%s", err.text);
	ram_free(&in);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream");
	TCase *tc = tcase_create("stream");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, sections);
	tcase_add_test(tc, cut_off_anywhere);
	tcase_add_test(tc, any_bit_of_it);
	tcase_add_loop_test(tc, memory, RAM_ZSTD, RAM_SHARED);
	tcase_add_loop_test(tc, private_memory, 0, 4);
	tcase_add_test(tc, plain_memory_can_be_mapped);
	tcase_add_loop_test(tc, damaged_memory, RAM_ZSTD, RAM_SHARED);
	tcase_add_test(tc, lies_about_memory);
	tcase_add_test(tc, another_size);
	tcase_add_test(tc, no_room);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
