// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/gdb_packet.c vmm/gdb_regs.c */
/* What a peer of the debugger's socket can send: framing, numbers, register values. */
#include <string.h>
#include "vmm/gdb_packet.h"
#include "vmm/gdb_regs.h"

static void fields(const char *p)
{
	uint8_t bytes[GDB_MAX_REG];
	struct gdb_cpu c;
	uint64_t n;
	int64_t s;

	memset(&c, 0, sizeof(c));
	while (*p) {
		if (gdb_hex(&p, &n) && n < GDB_REGS && gdb_char(&p, '=') &&
		    gdb_bytes(&p, bytes, gdb_reg_size((unsigned int)n))) {
			gdb_reg_set(&c, (unsigned int)n, bytes);
			gdb_reg_get(&c, (unsigned int)n, bytes);
		} else if (!gdb_hex_signed(&p, &s)) {
			p++;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gdb_framer f;
	static char again[2 * GDB_MAX_PACKET + 8];

	memset(&f, 0, sizeof(f));
	for (size_t i = 0; i < size; i++) {
		if (gdb_feed(&f, data[i]) != GDB_PACKET)
			continue;
		gdb_frame(f.data, f.len, again);
		fields(f.data);
	}
	return 0;
}
