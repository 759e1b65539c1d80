/* SPDX-License-Identifier: GPL-2.0-only */
/* CPU features by the names of libvirt and QEMU: where CPUID shows them. Included by cpu.c. */

enum cpuid_reg { R_EAX, R_EBX, R_ECX, R_EDX };

struct cpu_feature {
	const char *name;
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
	uint8_t bit;
	uint8_t level;		/* 1..4: part of x86-64-v1..v4 and above; 0: of none */
};

static const struct cpu_feature features[] = {
	{ "sse3", 1, 0, R_ECX, 0, 2 }, { "pni", 1, 0, R_ECX, 0, 2 },
	{ "pclmuldq", 1, 0, R_ECX, 1, 0 }, { "pclmulqdq", 1, 0, R_ECX, 1, 0 },
	{ "monitor", 1, 0, R_ECX, 3, 0 }, { "ds_cpl", 1, 0, R_ECX, 4, 0 },
	{ "vmx", 1, 0, R_ECX, 5, 0 }, { "ssse3", 1, 0, R_ECX, 9, 2 },
	{ "fma", 1, 0, R_ECX, 12, 3 }, { "cx16", 1, 0, R_ECX, 13, 2 },
	{ "pdcm", 1, 0, R_ECX, 15, 0 }, { "pcid", 1, 0, R_ECX, 17, 0 },
	{ "sse4.1", 1, 0, R_ECX, 19, 2 }, { "sse4_1", 1, 0, R_ECX, 19, 2 },
	{ "sse4.2", 1, 0, R_ECX, 20, 2 }, { "sse4_2", 1, 0, R_ECX, 20, 2 },
	{ "x2apic", 1, 0, R_ECX, 21, 0 }, { "movbe", 1, 0, R_ECX, 22, 3 },
	{ "popcnt", 1, 0, R_ECX, 23, 2 }, { "tsc-deadline", 1, 0, R_ECX, 24, 0 },
	{ "aes", 1, 0, R_ECX, 25, 0 }, { "xsave", 1, 0, R_ECX, 26, 3 },
	{ "avx", 1, 0, R_ECX, 28, 3 }, { "f16c", 1, 0, R_ECX, 29, 3 },
	{ "rdrand", 1, 0, R_ECX, 30, 0 }, { "hypervisor", 1, 0, R_ECX, 31, 0 },

	{ "fpu", 1, 0, R_EDX, 0, 1 }, { "vme", 1, 0, R_EDX, 1, 1 },
	{ "de", 1, 0, R_EDX, 2, 1 }, { "pse", 1, 0, R_EDX, 3, 1 },
	{ "tsc", 1, 0, R_EDX, 4, 1 }, { "msr", 1, 0, R_EDX, 5, 1 },
	{ "pae", 1, 0, R_EDX, 6, 1 }, { "mce", 1, 0, R_EDX, 7, 1 },
	{ "cx8", 1, 0, R_EDX, 8, 1 }, { "apic", 1, 0, R_EDX, 9, 1 },
	{ "sep", 1, 0, R_EDX, 11, 1 }, { "mtrr", 1, 0, R_EDX, 12, 1 },
	{ "pge", 1, 0, R_EDX, 13, 1 }, { "mca", 1, 0, R_EDX, 14, 1 },
	{ "cmov", 1, 0, R_EDX, 15, 1 }, { "pat", 1, 0, R_EDX, 16, 1 },
	{ "pse36", 1, 0, R_EDX, 17, 1 }, { "clflush", 1, 0, R_EDX, 19, 1 },
	{ "mmx", 1, 0, R_EDX, 23, 1 }, { "fxsr", 1, 0, R_EDX, 24, 1 },
	{ "sse", 1, 0, R_EDX, 25, 1 }, { "sse2", 1, 0, R_EDX, 26, 1 },
	{ "ss", 1, 0, R_EDX, 27, 0 }, { "ht", 1, 0, R_EDX, 28, 0 },

	{ "arat", 6, 0, R_EAX, 2, 0 },

	{ "fsgsbase", 7, 0, R_EBX, 0, 0 }, { "tsc_adjust", 7, 0, R_EBX, 1, 0 },
	{ "bmi1", 7, 0, R_EBX, 3, 3 }, { "hle", 7, 0, R_EBX, 4, 0 },
	{ "avx2", 7, 0, R_EBX, 5, 3 }, { "smep", 7, 0, R_EBX, 7, 0 },
	{ "bmi2", 7, 0, R_EBX, 8, 3 }, { "erms", 7, 0, R_EBX, 9, 0 },
	{ "invpcid", 7, 0, R_EBX, 10, 0 }, { "rtm", 7, 0, R_EBX, 11, 0 },
	{ "mpx", 7, 0, R_EBX, 14, 0 }, { "avx512f", 7, 0, R_EBX, 16, 4 },
	{ "avx512dq", 7, 0, R_EBX, 17, 4 }, { "rdseed", 7, 0, R_EBX, 18, 0 },
	{ "adx", 7, 0, R_EBX, 19, 0 }, { "smap", 7, 0, R_EBX, 20, 0 },
	{ "avx512ifma", 7, 0, R_EBX, 21, 5 }, { "clflushopt", 7, 0, R_EBX, 23, 0 },
	{ "clwb", 7, 0, R_EBX, 24, 0 }, { "avx512pf", 7, 0, R_EBX, 26, 5 },
	{ "avx512er", 7, 0, R_EBX, 27, 5 }, { "avx512cd", 7, 0, R_EBX, 28, 4 },
	{ "sha-ni", 7, 0, R_EBX, 29, 0 }, { "avx512bw", 7, 0, R_EBX, 30, 4 },
	{ "avx512vl", 7, 0, R_EBX, 31, 4 },

	{ "prefetchwt1", 7, 0, R_ECX, 0, 0 }, { "avx512vbmi", 7, 0, R_ECX, 1, 5 },
	{ "umip", 7, 0, R_ECX, 2, 0 }, { "pku", 7, 0, R_ECX, 3, 0 },
	{ "waitpkg", 7, 0, R_ECX, 5, 0 }, { "avx512vbmi2", 7, 0, R_ECX, 6, 5 },
	{ "gfni", 7, 0, R_ECX, 8, 0 }, { "vaes", 7, 0, R_ECX, 9, 5 },
	{ "vpclmulqdq", 7, 0, R_ECX, 10, 5 }, { "avx512vnni", 7, 0, R_ECX, 11, 5 },
	{ "avx512bitalg", 7, 0, R_ECX, 12, 5 }, { "avx512-vpopcntdq", 7, 0, R_ECX, 14, 5 },
	{ "la57", 7, 0, R_ECX, 16, 0 }, { "rdpid", 7, 0, R_ECX, 22, 0 },
	{ "cldemote", 7, 0, R_ECX, 25, 0 }, { "movdiri", 7, 0, R_ECX, 27, 0 },
	{ "movdir64b", 7, 0, R_ECX, 28, 0 },

	{ "avx512-4vnniw", 7, 0, R_EDX, 2, 5 }, { "avx512-4fmaps", 7, 0, R_EDX, 3, 5 },
	{ "fsrm", 7, 0, R_EDX, 4, 0 }, { "avx512-vp2intersect", 7, 0, R_EDX, 8, 5 },
	{ "md-clear", 7, 0, R_EDX, 10, 0 }, { "serialize", 7, 0, R_EDX, 14, 0 },
	{ "tsx-ldtrk", 7, 0, R_EDX, 16, 0 }, { "amx-bf16", 7, 0, R_EDX, 22, 5 },
	{ "avx512-fp16", 7, 0, R_EDX, 23, 5 }, { "amx-tile", 7, 0, R_EDX, 24, 5 },
	{ "amx-int8", 7, 0, R_EDX, 25, 5 }, { "spec-ctrl", 7, 0, R_EDX, 26, 0 },
	{ "stibp", 7, 0, R_EDX, 27, 0 }, { "flush-l1d", 7, 0, R_EDX, 28, 0 },
	{ "arch-capabilities", 7, 0, R_EDX, 29, 0 }, { "core-capability", 7, 0, R_EDX, 30, 0 },
	{ "ssbd", 7, 0, R_EDX, 31, 0 },
	{ "avx-vnni", 7, 1, R_EAX, 4, 5 }, { "avx512-bf16", 7, 1, R_EAX, 5, 5 },
	{ "cmpccxadd", 7, 1, R_EAX, 7, 0 }, { "fzrm", 7, 1, R_EAX, 10, 0 },
	{ "fsrs", 7, 1, R_EAX, 11, 0 }, { "fsrc", 7, 1, R_EAX, 12, 0 },
	{ "avx-ifma", 7, 1, R_EAX, 23, 5 }, { "avx-vnni-int8", 7, 1, R_EDX, 4, 5 },
	{ "avx-ne-convert", 7, 1, R_EDX, 5, 5 }, { "prefetchiti", 7, 1, R_EDX, 14, 0 },

	{ "xsaveopt", 0xd, 1, R_EAX, 0, 0 }, { "xsavec", 0xd, 1, R_EAX, 1, 0 },
	{ "xgetbv1", 0xd, 1, R_EAX, 2, 0 }, { "xsaves", 0xd, 1, R_EAX, 3, 0 },

	{ "lahf_lm", 0x80000001, 0, R_ECX, 0, 2 }, { "cmp_legacy", 0x80000001, 0, R_ECX, 1, 0 },
	{ "svm", 0x80000001, 0, R_ECX, 2, 0 }, { "extapic", 0x80000001, 0, R_ECX, 3, 0 },
	{ "cr8legacy", 0x80000001, 0, R_ECX, 4, 0 }, { "abm", 0x80000001, 0, R_ECX, 5, 3 },
	{ "lzcnt", 0x80000001, 0, R_ECX, 5, 3 }, { "sse4a", 0x80000001, 0, R_ECX, 6, 0 },
	{ "misalignsse", 0x80000001, 0, R_ECX, 7, 0 },
	{ "3dnowprefetch", 0x80000001, 0, R_ECX, 8, 0 }, { "osvw", 0x80000001, 0, R_ECX, 9, 0 },
	{ "ibs", 0x80000001, 0, R_ECX, 10, 0 }, { "xop", 0x80000001, 0, R_ECX, 11, 3 },
	{ "skinit", 0x80000001, 0, R_ECX, 12, 0 }, { "wdt", 0x80000001, 0, R_ECX, 13, 0 },
	{ "fma4", 0x80000001, 0, R_ECX, 16, 3 }, { "tbm", 0x80000001, 0, R_ECX, 21, 0 },
	{ "topoext", 0x80000001, 0, R_ECX, 22, 0 },
	{ "perfctr_core", 0x80000001, 0, R_ECX, 23, 0 },
	{ "syscall", 0x80000001, 0, R_EDX, 11, 1 }, { "nx", 0x80000001, 0, R_EDX, 20, 1 },
	{ "mmxext", 0x80000001, 0, R_EDX, 22, 0 }, { "fxsr_opt", 0x80000001, 0, R_EDX, 25, 0 },
	{ "pdpe1gb", 0x80000001, 0, R_EDX, 26, 0 }, { "rdtscp", 0x80000001, 0, R_EDX, 27, 0 },
	{ "lm", 0x80000001, 0, R_EDX, 29, 1 }, { "3dnowext", 0x80000001, 0, R_EDX, 30, 0 },
	{ "3dnow", 0x80000001, 0, R_EDX, 31, 0 },
	{ "invtsc", 0x80000007, 0, R_EDX, 8, 0 },
	{ "clzero", 0x80000008, 0, R_EBX, 0, 0 }, { "xsaveerptr", 0x80000008, 0, R_EBX, 2, 0 },
	{ "wbnoinvd", 0x80000008, 0, R_EBX, 9, 0 }, { "ibpb", 0x80000008, 0, R_EBX, 12, 0 },
	{ "ibrs", 0x80000008, 0, R_EBX, 14, 0 }, { "amd-stibp", 0x80000008, 0, R_EBX, 15, 0 },
	{ "amd-ssbd", 0x80000008, 0, R_EBX, 24, 0 }, { "virt-ssbd", 0x80000008, 0, R_EBX, 25, 0 },
	{ "amd-no-ssb", 0x80000008, 0, R_EBX, 26, 0 },
	{ "npt", 0x8000000a, 0, R_EDX, 0, 0 }, { "nrip-save", 0x8000000a, 0, R_EDX, 3, 0 },
};

/*
 * Named models. hvx does not rebuild a model bit by bit: it offers this host's
 * CPU without the instruction sets above the model's level of the x86-64 psABI.
 */
static const struct cpu_model {
	const char *prefix;
	uint8_t level;
} models[] = {
	{ "qemu64", 1 }, { "kvm64", 1 }, { "Opteron_G1", 1 }, { "Opteron_G2", 1 },
	{ "core2duo", 1 }, { "Conroe", 1 }, { "Penryn", 1 }, { "Opteron_G3", 1 }, { "phenom", 1 },
	{ "x86-64-v1", 1 },
	{ "Nehalem", 2 }, { "Westmere", 2 }, { "SandyBridge", 2 }, { "IvyBridge", 2 },
	{ "Opteron_G4", 2 }, { "Opteron_G5", 2 }, { "Denverton", 2 }, { "Snowridge", 2 },
	{ "x86-64-v2", 2 },
	{ "Haswell", 3 }, { "Broadwell", 3 }, { "Skylake-Client", 3 }, { "EPYC", 3 },
	{ "Dhyana", 3 }, { "x86-64-v3", 3 },
	{ "EPYC-Genoa", 4 }, { "EPYC-Turin", 4 }, { "Skylake-Server", 4 }, { "Cascadelake", 4 },
	{ "Cooperlake", 4 }, { "Icelake", 4 }, { "SapphireRapids", 4 }, { "GraniteRapids", 4 },
	{ "x86-64-v4", 4 },
};
