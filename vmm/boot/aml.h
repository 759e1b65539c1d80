/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small AML writer (ACPI 6.4, chapter 20). Terms are appended in order; what
 * has a body is opened with a ..._begin() and closed with aml_end(), which
 * fills in the length.
 */
#ifndef HVX_BOOT_AML_H
#define HVX_BOOT_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_MAX_DEPTH 8

struct aml {
	uint8_t *buf;
	size_t len, room;
	bool failed;		/* out of memory, or nested too deep: check once at the end */
	unsigned int depth;
	struct {
		size_t start;	/* where the package length goes */
		uint8_t tail;	/* enum: what aml_end() still appends or patches */
	} open[AML_MAX_DEPTH];
};

void aml_init(struct aml *a);
void aml_free(struct aml *a);
void aml_raw(struct aml *a, const void *data, size_t len);

/* Named objects; names have 4 characters, paths may start with '\\' and have dots. */
void aml_scope_begin(struct aml *a, const char *path);
void aml_device_begin(struct aml *a, const char *name);
void aml_method_begin(struct aml *a, const char *name, unsigned int args);
void aml_package_begin(struct aml *a, unsigned int count);
void aml_end(struct aml *a);
void aml_name(struct aml *a, const char *name);		/* a term follows */
void aml_name_int(struct aml *a, const char *name, uint64_t val);
void aml_name_string(struct aml *a, const char *name, const char *s);
void aml_name_eisaid(struct aml *a, const char *name, const char *id);	/* "PNP0A08" */

/* Terms */
void aml_int(struct aml *a, uint64_t val);
void aml_string(struct aml *a, const char *s);
void aml_path(struct aml *a, const char *path);
void aml_op(struct aml *a, uint8_t op);
void aml_buffer(struct aml *a, const void *data, size_t len);
void aml_if_begin(struct aml *a);			/* predicate, then body */
void aml_else_begin(struct aml *a);
/* OperationRegion in I/O space; Field over it, of double words one after the other, to aml_end(). */
void aml_io_region(struct aml *a, const char *name, uint16_t base, uint16_t len);
void aml_field_begin(struct aml *a, const char *region);
void aml_field_dword(struct aml *a, const char *name);

#define AML_ZERO	0x00
#define AML_LOCAL(n)	((uint8_t)(0x60 + (n)))
#define AML_ARG(n)	((uint8_t)(0x68 + (n)))
#define AML_STORE	0x70	/* source, target */
#define AML_AND		0x7b	/* a, b, target */
#define AML_OR		0x7d
#define AML_NOTIFY	0x86	/* object, value */
#define AML_CREATE_DWORD_FIELD 0x8a	/* buffer, byte index, name */
#define AML_LEQUAL	0x93
#define AML_RETURN	0xa4

/* Name(_CRS, ResourceTemplate() { ... }) */
void aml_crs_begin(struct aml *a);
void aml_crs_end(struct aml *a);
void aml_crs_io(struct aml *a, uint16_t base, uint8_t len);
void aml_crs_irq(struct aml *a, unsigned int irq);	/* edge, active high, exclusive */
void aml_crs_memory32(struct aml *a, uint32_t base, uint32_t len);
/* Windows of a bridge; ranges inclusive. */
void aml_crs_bus(struct aml *a, uint16_t first, uint16_t last);
void aml_crs_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_crs_memory32_window(struct aml *a, uint32_t first, uint32_t last, bool cacheable);
void aml_crs_memory64_window(struct aml *a, uint64_t first, uint64_t last);

#endif
