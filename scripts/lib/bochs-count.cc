// SPDX-License-Identifier: GPL-2.0-only
/*
 * In the place of Bochs' instrument/stubs/instrument.cc: counts what the host
 * executes between a VM exit and the next VM entry, all instructions and those
 * that are dear on silicon. Host code that an interrupt or a fault came into is left out.
 *
 * At the end, into the file named by HVX_COUNT, for each exit handler (HOST_RIP),
 * exit reason and way (in the kernel, or by userspace): how often, and of the most
 * frequent set of dear instructions, which the fewest instructions were. A set
 * tells apart what has the same reason, as a page fault and a device's register. With
 * HVX_COUNT_TRACE also the addresses of that shortest way.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>
#include "bochs.h"
#include "cpu/cpu.h"

#if BX_INSTRUMENTATION

/* By the beginnings of Bochs' names, without BX_IA_. 0: not dear. */
static const char *const dear[] = {
	"", "VMREAD", "VMWRITE", "VMRESUME", "VMLAUNCH", "VMPTRLD", "VMPTRST", "VMCLEAR", "VMXON",
	"VMXOFF", "INVEPT", "INVVPID", "RDMSR", "WRMSR", "XSETBV", "XSAVE", "XRSTOR", "RDPKRU",
	"WRPKRU", "RDTSC", "SWAPGS", "MOV_CR", "MOV_DdRd", "MOV_DqRq", "MOV_RdDd", "MOV_RqDq",
	"LGDT", "LIDT", "LLDT", "LTR", "INVLPG", "INVPCID", "CPUID",
};
enum { NR_DEAR = sizeof(dear) / sizeof(dear[0]), MAX_CPUS = 8, MAX_OPCODES = 8192 };
static unsigned char kind[MAX_OPCODES];		/* 0: not looked up, 1: syscall return, else 2 + dear[] */

static struct interval {
	bool open, spoilt, user;
	Bit64u handler;
	Bit32u reason;
	unsigned insns, counts[NR_DEAR];
} now[MAX_CPUS];

struct step { Bit64u rip; unsigned op; };

/* Of one set of dear instructions. */
struct cell {
	unsigned long n = 0;
	unsigned fewest = ~0U;
	std::vector<step> steps;	/* of the shortest */
};
static std::map<std::string, std::map<std::string, cell>> rows;
static std::vector<step> steps[MAX_CPUS];
static bool tracing;

static void report()
{
	const char *name = getenv("HVX_COUNT");
	FILE *f = name ? fopen(name, "w") : NULL;

	if (!f)
		return;
	for (auto &r : rows) {
		std::pair<const std::string, cell> *most = NULL;
		unsigned long n = 0;

		for (auto &c : r.second) {
			n += c.second.n;
			if (!most || c.second.n > most->second.n)
				most = &c;
		}
		fprintf(f, "%s: %lu times, %u instructions at least;%s (%lu times)\n", r.first.c_str(),
			n, most->second.fewest, most->first.c_str(), most->second.n);
		for (auto &s : most->second.steps)
			fprintf(f, "trace %s %llx %s\n", r.first.c_str(), (unsigned long long)s.rip,
				get_bx_opcode_name(s.op));
	}
	fclose(f);
}

static void close_interval(interval &v, unsigned cpu)
{
	char key[64];
	std::string set;

	v.open = false;
	if (v.spoilt)
		return;
	snprintf(key, sizeof(key), "%llx %2u %s", (unsigned long long)v.handler, v.reason,
		 v.user ? "userspace" : "kernel");
	for (unsigned i = 1; i < NR_DEAR; i++)
		if (v.counts[i])
			set += std::string(" ") + dear[i] + " " + std::to_string(v.counts[i]);
	cell &c = rows[key][set];
	c.n++;
	if (v.insns < c.fewest) {
		c.fewest = v.insns;
		c.steps = steps[cpu];
	}
}

static unsigned char classify(bxInstruction_c *i)
{
	const char *name = i->getIaOpcodeNameShort();

	if (!strncmp(name, "SYSRET", 6) || !strncmp(name, "IRET", 4))
		return 1;
	for (unsigned k = 1; k < NR_DEAR; k++)
		if (!strncmp(name, dear[k], strlen(dear[k])))
			return 2 + k;
	return 2;
}

void bx_instr_before_execution(unsigned cpu, bxInstruction_c *i)
{
	unsigned op = i->getIaOpcode();

	if (cpu >= MAX_CPUS || !now[cpu].open || op >= MAX_OPCODES)
		return;
	if (!kind[op])
		kind[op] = classify(i);
	interval &v = now[cpu];
	v.insns++;
	if (tracing)
		steps[cpu].push_back({ BX_CPU(cpu)->get_instruction_pointer(), op });
	if (kind[op] == 1)
		v.user = true;
	else if (kind[op] > 2)
		v.counts[kind[op] - 2]++;
	if (!strncmp(dear[kind[op] > 2 ? kind[op] - 2 : 0], "VMRES", 5) ||
	    !strncmp(dear[kind[op] > 2 ? kind[op] - 2 : 0], "VMLAU", 5))
		close_interval(v, cpu);
}

void bx_instr_vmexit(unsigned cpu, Bit32u reason, Bit64u qualification)
{
	if (cpu >= MAX_CPUS)
		return;
	now[cpu] = interval();
	now[cpu].open = true;
	steps[cpu].clear();
	now[cpu].handler = BX_CPU(cpu)->vmcs.host_state.rip;
	now[cpu].reason = reason & 0xffff;
}

static void spoil(unsigned cpu)
{
	if (cpu < MAX_CPUS)
		now[cpu].spoilt = true;
}

void bx_instr_hwinterrupt(unsigned cpu, unsigned vector, Bit16u cs, bx_address eip) { spoil(cpu); }
void bx_instr_interrupt(unsigned cpu, unsigned vector) { spoil(cpu); }
void bx_instr_exception(unsigned cpu, unsigned vector, unsigned error_code) { spoil(cpu); }
void bx_instr_hlt(unsigned cpu) { spoil(cpu); }
void bx_instr_mwait(unsigned cpu, bx_phy_address addr, unsigned len, Bit32u flags) { spoil(cpu); }

void bx_instr_init_env(void)
{
	tracing = getenv("HVX_COUNT_TRACE");
	atexit(report);
}
void bx_instr_exit_env(void) {}
void bx_instr_initialize(unsigned cpu) {}
void bx_instr_exit(unsigned cpu) {}
void bx_instr_reset(unsigned cpu, unsigned type) {}
void bx_instr_debug_promt() {}
void bx_instr_debug_cmd(const char *cmd) {}
void bx_instr_cnear_branch_taken(unsigned cpu, bx_address from, bx_address to) {}
void bx_instr_cnear_branch_not_taken(unsigned cpu, bx_address from) {}
void bx_instr_ucnear_branch(unsigned cpu, unsigned what, bx_address from, bx_address to) {}
void bx_instr_far_branch(unsigned cpu, unsigned what, Bit16u cs, bx_address from, Bit16u new_cs, bx_address to) {}
void bx_instr_opcode(unsigned cpu, bxInstruction_c *i, const Bit8u *opcode, unsigned len, bool is32, bool is64) {}
void bx_instr_tlb_cntrl(unsigned cpu, unsigned what, bx_phy_address cr3) {}
void bx_instr_clflush(unsigned cpu, bx_address laddr, bx_phy_address paddr) {}
void bx_instr_cache_cntrl(unsigned cpu, unsigned what) {}
void bx_instr_prefetch_hint(unsigned cpu, unsigned what, unsigned seg, bx_address offset) {}
void bx_instr_after_execution(unsigned cpu, bxInstruction_c *i) {}
void bx_instr_repeat_iteration(unsigned cpu, bxInstruction_c *i) {}
void bx_instr_inp(Bit16u addr, unsigned len) {}
void bx_instr_inp2(Bit16u addr, unsigned len, unsigned val) {}
void bx_instr_outp(Bit16u addr, unsigned len, unsigned val) {}
void bx_instr_lin_access(unsigned cpu, bx_address lin, bx_address phy, unsigned len, unsigned memtype, unsigned rw) {}
void bx_instr_phy_access(unsigned cpu, bx_address phy, unsigned len, unsigned memtype, unsigned rw) {}
void bx_instr_wrmsr(unsigned cpu, unsigned addr, Bit64u value) {}

#endif
