// SPDX-License-Identifier: GPL-2.0-only
/* May a guest that has run elsewhere go on with the CPU that it knows? Compared before anything of it moves. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu.h"

struct fit {
	const struct hvx_cpuid_entry *guest, *host;
	unsigned int nr_guest, nr_host;
	const struct hvx_info *info;
	char *why;
	size_t room;
};

static int __attribute__((format(printf, 2, 3))) no(struct fit *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->why, f->room, fmt, ap);
	va_end(ap);
	return -1;
}

static const struct hvx_cpuid_entry *of(const struct hvx_cpuid_entry *e, unsigned int n, uint32_t leaf, uint32_t sub)
{
	static const struct hvx_cpuid_entry none;
	const struct hvx_cpuid_entry *found = cpuid_entry(e, n, leaf, sub);

	return found ? found : &none;
}

static void vendor_text(const struct hvx_cpuid_entry *e, char text[13])
{
	unsigned int i;

	memcpy(text, &e->ebx, 4);
	memcpy(text + 4, &e->edx, 4);
	memcpy(text + 8, &e->ecx, 4);
	for (i = 0; i < 12; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			text[i] = '?';
	text[12] = '\0';
}

static int same_vendor(struct fit *f)
{
	const struct hvx_cpuid_entry *g = of(f->guest, f->nr_guest, 0, 0), *h = of(f->host, f->nr_host, 0, 0);
	char theirs[13], ours[13];

	if (g->ebx == h->ebx && g->ecx == h->ecx && g->edx == h->edx)
		return 0;
	vendor_text(g, theirs);
	vendor_text(h, ours);
	return no(f, "the guest runs on a CPU of %s, this host's is of %s: system calls, errata and mitigations of the two differ, so it can only be shut down and started here",
		  theirs, ours);
}

static int features(struct fit *f)
{
	struct cpu_set guest = cpu_set_of(f->guest, f->nr_guest), host = cpu_set_of(f->host, f->nr_host);
	struct cpu_set missing;

	/* Not of the CPU: which vCPUs are siblings. */
	cpu_set_sub(&guest, "ht cmp_legacy");
	missing = cpu_set_minus(&guest, &host);
	if (!cpu_set_count(&missing))
		return 0;
	return no(f, "the guest's CPU has %s, which this host cannot give; start the guest with a <cpu> that both hosts have: hvx cpu-baseline",
		  cpu_set_text(&missing));
}

/* Offsets in the XSAVE area are the CPU's; a guest keeps what it saved there. */
static int xsave(struct fit *f)
{
	uint32_t xcr0 = of(f->guest, f->nr_guest, 0xd, 0)->eax, i;
	uint32_t here = of(f->host, f->nr_host, 0xd, 0)->eax;

	if (xcr0 & ~here)
		return no(f, "the guest's CPU has vector registers that this host cannot give: XCR0 bits %#x", xcr0 & ~here);
	for (i = 2; i < 32; i++) {
		const struct hvx_cpuid_entry *g = of(f->guest, f->nr_guest, 0xd, i), *h = of(f->host, f->nr_host, 0xd, i);

		if ((xcr0 >> i & 1) && (g->eax != h->eax || g->ebx != h->ebx || g->ecx != h->ecx))
			return no(f, "registers of XCR0 bit %u are saved in %u bytes at %u on the guest's CPU, in %u at %u on this host's",
				  i, g->eax, g->ebx, h->eax, h->ebx);
	}
	return 0;
}

static int addresses(struct fit *f)
{
	uint32_t g = of(f->guest, f->nr_guest, 0x80000008, 0)->eax, h = of(f->host, f->nr_host, 0x80000008, 0)->eax;

	if ((g & 0xff) > f->info->phys_bits || (g & 0xff) < 32)
		return no(f, "the guest knows %u bits of physical address, this host has %u; start it with <maxphysaddr mode='emulate' bits='%u'/> in <cpu>",
			  g & 0xff, f->info->phys_bits, f->info->phys_bits);
	if ((g >> 8 & 0xff) > (h >> 8 & 0xff))
		return no(f, "the guest knows %u bits of virtual address, this host has %u", g >> 8 & 0xff, h >> 8 & 0xff);
	return 0;
}

static int paravirtual(struct fit *f)
{
	uint32_t missing = of(f->guest, f->nr_guest, 0x40000001, 0)->eax & ~of(f->host, f->nr_host, 0x40000001, 0)->eax;
	const struct hvx_cpuid_entry *g = of(f->guest, f->nr_guest, 0x40000000, 0), *h = of(f->host, f->nr_host, 0x40000000, 0);

	if (g->ebx && (g->ebx != h->ebx || g->ecx != h->ecx || g->edx != h->edx))
		return no(f, "the guest's hypervisor goes by another name");
	return missing ? no(f, "the guest uses paravirtual features that this version of the module has not: %#x", missing) : 0;
}

/* As the module takes it: kmod/x86/msr.c, hvx_set_guest_tsc_khz(). */
static int tsc(struct fit *f, uint32_t khz)
{
	uint32_t told = of(f->guest, f->nr_guest, 0x40000010, 0)->eax, here = f->info->tsc_khz;
	uint64_t off;

	khz = told ? told : khz;
	off = khz > here ? khz - here : here - khz;
	if (!khz || !here || (f->info->features & HVX_FEAT_TSC_SCALING) || off * 4000 <= here)
		return 0;
	return no(f, "the guest's TSC runs at %u kHz, this host's at %u, and its CPU cannot scale it", khz, here);
}

/* A leaf of facts, or of features that were compared. */
static bool known(const struct fit *f, uint32_t leaf)
{
	static const uint32_t facts[] = {
		0, 1, 2, 4, 6, 7, 0xb, 0xd, 0x15, 0x16, 0x1f, 0x80000000, 0x80000001, 0x80000002, 0x80000003,
		0x80000004, 0x80000005, 0x80000006, 0x80000007, 0x80000008, 0x80000019, 0x8000001a, 0x8000001d,
		0x8000001e, 0x80000021,
	};
	unsigned int i;

	for (i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		if (facts[i] == leaf)
			return true;
	return (leaf >= 0x40000000 && leaf <= 0x400000ff) || cpuid_entry(f->host, f->nr_host, leaf, 0);
}

static int leaves(struct fit *f)
{
	unsigned int i;

	for (i = 0; i < f->nr_guest; i++)
		if (!known(f, f->guest[i].leaf))
			return no(f, "the guest's CPU has CPUID leaf %#x, which this host does not give", f->guest[i].leaf);
	return 0;
}

int cpu_table_fits(const struct hvx_cpuid_entry *guest, unsigned int n, uint32_t tsc_khz,
		   const struct hvx_cpuid_entry *host, unsigned int nr_host, const struct hvx_info *info,
		   char *why, size_t room)
{
	struct fit f = { .guest = guest, .nr_guest = n, .host = host, .nr_host = nr_host, .info = info,
			 .why = why, .room = room };

	return same_vendor(&f) || features(&f) || xsave(&f) || addresses(&f) || paravirtual(&f) ||
	       tsc(&f, tsc_khz) || leaves(&f) ? -1 : 0;
}
