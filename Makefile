# SPDX-License-Identifier: GPL-2.0-only
#
# hvx: kernel module, VMM, command-line tool, tests. `make help` lists targets.

VERSION	:= 0.1.0

# ASAN=1 builds everything in userspace under ASan and UBSan, beside the
# ordinary build.
ifeq ($(ASAN),1)
B	?= build-asan
else
B	?= build
endif

CC	?= gcc
AR	?= ar
PKG_CONFIG ?= pkg-config
PREFIX	?= /usr/local
BINDIR	?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec/hvx
MANDIR	?= $(PREFIX)/share/man
UNITDIR	?= /usr/lib/systemd
DESTDIR	?=

# The kernel that the module is built for: the running one when its headers are
# there, else the newest that has them.
KVER	?= $(shell k=$$(uname -r); [ -e /lib/modules/$$k/build/Makefile ] || \
	     k=$$(ls -d /lib/modules/*/build/Makefile 2>/dev/null | cut -d/ -f4 | sort -V | tail -n1); echo $$k)
KDIR	?= /lib/modules/$(KVER)/build

# --- flags ---------------------------------------------------------------

OPT	:= -O2 -g
SAN	:= -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
WARN	:= -Wall -Wextra -Werror
BASE_CPPFLAGS := -D_GNU_SOURCE -DHVX_VERSION='"$(VERSION)"' -DHVX_LIBEXECDIR='"$(LIBEXECDIR)"' \
	   -I. -Iinclude -I$(B)/gen
BASE_CFLAGS := -std=gnu11 $(OPT) $(WARN) -fstack-protector-strong -fPIE -pthread
BASE_LDFLAGS := -pie -pthread -Wl,--as-needed -Wl,-z,relro,-z,now
ifeq ($(ASAN),1)
BASE_CFLAGS += $(SAN)
BASE_LDFLAGS += $(SAN)
endif

PKGS_ALL := libxml-2.0 libcap libseccomp liburing json-c libdeflate libzstd libarchive slirp gnutls
# Looked up on first use, so that `make module` and `make help` need none of it.
pkg_missing = $(foreach p,$(1),$(if $(shell $(PKG_CONFIG) --exists $(p) 2>/dev/null && echo y),,$(p)))
pkg_check = $(if $(strip $(call pkg_missing,$(1))),$(error not installed: $(strip $(call pkg_missing,$(1))) - run scripts/setup))
PKG_CFLAGS = $(eval PKG_CFLAGS := $(call pkg_check,$(PKGS_ALL))$$(shell $(PKG_CONFIG) --cflags $(PKGS_ALL)))$(PKG_CFLAGS)
pkg_libs = $(call pkg_check,$(1))$(shell $(PKG_CONFIG) --libs $(1))

# A shared library costs each start of a program, libxml2 with ICU behind it most: where there are
# archives of all, and they can be linked, they are linked in. STATIC=0 takes the shared ones.
STATIC	?= 1
MAIN_PKGS := libxml-2.0 libcap liburing json-c libdeflate libzstd
archives := xml2 cap uring json-c deflate zstd z lzma
# ICU's functions, with the number of its release, that libxml2 refers to: vmm/noicu.c.
icu_names = $(shell nm -u "$$($(CC) -print-file-name=libxml2.a)" 2>/dev/null | sed -n 's/^ *U \([uU][cC][nN][vV]_.*\)/\1/p' | sort -u)
archive_libs = $(archives:%=-l:lib%.a) -lm -Wl,--exclude-libs,ALL -Wl,-u,no_icu $(icu_names:%=-Wl,--defsym=%=no_icu)
try_archives = printf 'int no_icu(void) { return 0; }\nint main(void) { return 0; }\n' | $(CC) -x c - -fPIE -pie -o $(B)/.try \
	$(addprefix -Wl$(comma)-u$(comma),xmlReadMemory cap_init io_uring_queue_init json_tokener_new libdeflate_crc32 ZSTD_compress) \
	$(archive_libs) 2>/dev/null && echo y
comma	:= ,
# On first use: y or nothing.
have_archives = $(eval have_archives := $(if $(filter 1,$(STATIC)),$(shell $(try_archives))))$(have_archives)
main_libs = $(call pkg_check,$(MAIN_PKGS))$(if $(have_archives),$(archive_libs),$(call pkg_libs,$(MAIN_PKGS)))

# --- what is built from what -----------------------------------------------

# A helper program, devices/*/*_helper.c, is a process of its own.
helper_src := $(wildcard devices/*/*_helper.c)
vmm_src	:= $(filter-out $(helper_src),$(wildcard vmm/*.c vmm/boot/*.c devices/*.c devices/*/*.c))
# Libraries that few verbs need.
archive_src := cli/tar.c cli/initramfs.c
cli_src	:= $(filter-out cli/tls.c cli/console.c $(archive_src),$(wildcard cli/*.c))
obj	= $(patsubst %.c,$(B)/obj/%.o,$(1))
# What the command-line tool and the helpers share with the VMM.
lib_obj	:= $(call obj,$(filter-out vmm/main.c,$(vmm_src)))

programs :=
ifneq ($(wildcard vmm/main.c),)
programs += $(B)/hvx-vmm
endif
ifneq ($(wildcard cli/main.c),)
programs += $(B)/hvx
endif
programs += $(B)/hvx-init $(B)/hvx-image-build $(B)/hvx-tls.so $(B)/hvx-archive.so $(B)/hvx-console
ifneq ($(wildcard devices/net/slirp_helper.c),)
programs += $(B)/hvx-net-slirp
endif
programs += $(B)/hvx-image-qsd

.PHONY: all
all: vmm $(if $(KVER),module)

.PHONY: vmm
vmm: $(programs)

$(B)/hvx-vmm: $(call obj,$(vmm_src))
$(B)/hvx-vmm: LIBS = $(main_libs)
$(B)/hvx: $(call obj,$(cli_src)) $(B)/libhvx.a
$(B)/hvx: LIBS = $(main_libs) -Wl,--export-dynamic-symbol=cli_error
$(B)/hvx-net-slirp: $(call obj,devices/net/slirp_helper.c) $(B)/libhvx.a
$(B)/hvx-net-slirp: LIBS = $(call pkg_libs,slirp libcap)
$(B)/hvx-image-qsd: $(call obj,devices/storage/image_helper.c) $(B)/libhvx.a
$(B)/hvx-image-qsd: LIBS = $(call pkg_libs,libcap json-c)
console_src := cli/console/hvx_console.c cli/console.c cli/terminal.c cli/rundir.c
$(B)/hvx-console: $(call obj,$(console_src)) $(B)/libhvx.a

$(B)/hvx-vmm $(B)/hvx $(B)/hvx-net-slirp $(B)/hvx-image-qsd $(B)/hvx-console:
	$(call say,LD,$@)$(CC) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

# What only migration over TLS needs (cli/tls.h), and copies and --kernel (cli/archive.h).
$(B)/hvx-tls.so: cli/tls.c cli/tls.h cli/cli.h $(B)/.flags
$(B)/hvx-tls.so: LIBS = $(call pkg_libs,gnutls)
$(B)/hvx-archive.so: $(archive_src) cli/archive.h cli/kernel.h cli/cli.h $(B)/.flags
$(B)/hvx-archive.so: LIBS = $(call pkg_libs,libarchive)
$(B)/hvx-tls.so $(B)/hvx-archive.so:
	$(call say,LD,$@)$(CC) $(BASE_CPPFLAGS) $(PKG_CFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) -fPIC -shared \
		$(filter-out -pie,$(BASE_LDFLAGS)) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIBS)

# The first process in a guest: of no library, for whatever is there.
$(B)/hvx-init: cli/init/hvx_init.c
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -D_GNU_SOURCE -std=gnu11 -Os $(WARN) -static -s -o $@ $<

$(B)/hvx-image-build: cli/image/hvx-image-build
	@mkdir -p $(@D)
	install -m 755 $< $@

# System-call filters, compiled here and now: $(B)/gen/filters.h.
$(B)/gen/filters: vmm/filters/filters.c include/uapi/hvx.h $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -D_GNU_SOURCE -Iinclude -std=gnu11 -O $(WARN) -o $@ $< $(call pkg_libs,libseccomp)

$(B)/gen/filters.h: $(B)/gen/filters
	$(call say,GEN,$@)$< > $@

with_filters := vmm/sandbox.c devices/net/slirp_helper.c devices/storage/image_helper.c
$(call obj,$(with_filters)) $(patsubst %.c,$(B)/san/%.o,$(with_filters)): $(B)/gen/filters.h

$(B)/libhvx.a: $(lib_obj)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(B)/obj/%.o: %.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(BASE_CPPFLAGS) $(PKG_CFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Objects are made anew when the flags have changed.
flags_now := $(STATIC:%=STATIC=%) $(CC) $(BASE_CPPFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) $(BASE_LDFLAGS) $(LDFLAGS)
$(B)/.flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(flags_now))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(flags_now))' > $@
.PHONY: FORCE
FORCE:

# --- module ----------------------------------------------------------------

# Built in a tree of links, one for each kernel, so that the sources stay clean.
module_dir = $(B)/module-$(KVER)

.PHONY: module
module:
	@[ -n '$(KVER)' ] && [ -e '$(KDIR)/Makefile' ] || { \
		echo 'no kernel headers in $(KDIR): run scripts/setup, or give KVER= or KDIR=' >&2; exit 1; }
	@mkdir -p $(module_dir)
	@find $(module_dir) -xtype l -delete
	@find Kbuild kmod include -name '*.[chS]' -o -name Kbuild | while read -r f; do \
		[ -L $(module_dir)/$$f ] || { mkdir -p $$(dirname $(module_dir)/$$f); \
			ln -sf $(CURDIR)/$$f $(module_dir)/$$f; }; done
	+$(if $(V),,@)flock $(module_dir)/.lock $(MAKE) --no-print-directory -C $(KDIR) M=$(CURDIR)/$(module_dir) $(if $(V),V=$(V)) $(KMAKEFLAGS) modules
	@cmp -s $(module_dir)/hvx.ko $(B)/hvx.ko || cp $(module_dir)/hvx.ko $(B)/hvx.ko

# --- tests -----------------------------------------------------------------
#
# tests/unit/NAME_test.c is a program under Check, ASan and UBSan. It names the
# files that it tests in a comment in its first ten lines:
#	/* units: devices/legacy/pit.c vmm/emul*.c tests/unit/fake_bus.c */
# Without one, it tests the file called NAME.c.
# tests/uapi/NAME_test.c is a program that needs /dev/hvx and runs in the nested
# host; it names what it links against, if anything, in the same way.

unit_src := $(wildcard tests/unit/*_test.c)
uapi_src := $(wildcard tests/uapi/*_test.c)
unit_bin := $(patsubst tests/%.c,$(B)/tests/%,$(unit_src))
uapi_bin := $(patsubst tests/%.c,$(B)/tests/%,$(uapi_src))
units_named = $(wildcard $(shell sed -n '1,10s/.*units: *\(.*\)/\1/p' $(1) | sed 's,\*/.*,,'))
units_of = $(or $(call units_named,$(1)),$(2))
by_name	= $(wildcard $(foreach d,kmod kmod/* vmm vmm/* devices devices/* cli,$(d)/$(patsubst %_test.c,%.c,$(notdir $(1)))))
san	= $(patsubst %.c,$(B)/san/%.o,$(1))

define unit_rule
$(patsubst tests/%.c,$(B)/tests/%,$(1)): $(call san,$(1) $(call units_of,$(1),$(call by_name,$(1))))
endef
define uapi_rule
$(patsubst tests/%.c,$(B)/tests/%,$(1)): $(call obj,$(1) $(call units_of,$(1)))
endef
$(foreach s,$(unit_src),$(eval $(call unit_rule,$(s))))
$(foreach s,$(uapi_src),$(eval $(call uapi_rule,$(s))))

$(unit_bin):
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(BASE_LDFLAGS) $(SAN) $(LDFLAGS) -o $@ $(filter %.o,$^) \
		$(call pkg_libs,check libxml-2.0 libcap liburing json-c libdeflate libzstd libarchive gnutls)
$(uapi_bin):
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(call pkg_libs,check)

$(B)/san/%.o: %.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(BASE_CPPFLAGS) $(PKG_CFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(SAN) $(CFLAGS) -MMD -MP -c -o $@ $<

# The module's own files among them find what they need of the kernel there.
$(B)/san/kmod/%.o $(B)/san/tests/unit/decode%.o $(B)/san/tests/unit/lapic%.o: CPPFLAGS += -Itests/unit/kernel

.PHONY: tests
tests: $(unit_bin) $(uapi_bin)

.PHONY: check
check: check-unit check-hosts check-two-hosts

unit_scripts := tests/kmod-lines tests/bench-figures
.PHONY: check-unit
check-unit: $(unit_bin)
	tests/run --results $(B)/results/unit.tap \
		$(sort $(if $(TESTS),$(filter $(TESTS:%=$(B)/tests/unit/%_test),$(unit_bin)),$(unit_bin))) \
		$(if $(TESTS),$(filter $(unit_scripts),$(TESTS:%=tests/%)),$(unit_scripts))

# The nested host boots its own choice of kernel. TESTS='NAME...' picks tests.
# check-nested runs under QEMU (AMD-V), check-bochs under Bochs (VT-x; or
# BENCH=bochs-amd, its AMD-V).
# check-hosts is check-nested, with BOCHS_TESTS on Bochs' VT-x beside it.
.PHONY: check-nested check-bochs check-hosts
BOCHS_TESTS ?= exits insn apic eventfd pv events task hostile races memory boot
check-nested: bench = nested
check-bochs: bench = $(or $(BENCH),bochs-intel)
check-nested check-bochs: vmm $(uapi_bin)
	+kver=$$(scripts/l1 --print-release) && \
	$(MAKE) --no-print-directory module KVER=$$kver && \
	tests/nested --bench $(bench) --build $(B) --module $(B)/module-$$kver/hvx.ko $(TESTS)

# A host suspends, to memory and in the kernel's test modes, while a guest runs;
# and CPUs go and come, kexec, reboot, a crash.
.PHONY: check-power
check-power: vmm $(uapi_bin)
	+kver=$$(scripts/l1 --print-release) && \
	$(MAKE) --no-print-directory module KVER=$$kver && \
	tests/suspend --build $(B) --module $(B)/module-$$kver/hvx.ko && \
	tests/power --build $(B) --module $(B)/module-$$kver/hvx.ko

# A kernel that looks for bugs: scripts/debug-kernel. HVX_FUZZ_CALLS is for the fuzzer.
# BENCH=bochs-intel: on Bochs' VT-x, as check-kernels; a second of it has more instructions, as the kernel
# needs more of them for a timer's interrupt than a guest's timer may leave it otherwise.
.PHONY: check-debug
check-debug check-kernels check-two-hosts: bench = $(or $(BENCH),nested)
check-debug: vmm $(uapi_bin)
	+scripts/debug-kernel build && \
	$(MAKE) --no-print-directory module B=$(B)/debug KVER=$$(scripts/debug-kernel release) \
		KDIR=$$(scripts/debug-kernel headers) && \
	HVX_LIMIT=3000 HVX_BOCHS_IPS=$${HVX_BOCHS_IPS:-200000000} \
	tests/nested --bench $(bench) --build $(B) --module $(B)/debug/hvx.ko \
		--label debug-$(bench) \
		--kernel $$(scripts/debug-kernel image) --modules $$(scripts/debug-kernel modules) \
		$(or $(TESTS),$(patsubst tests/uapi/%_test.c,%,$(uapi_src)) initramfs)

# A guest moves between two nested hosts that run at once.
.PHONY: check-two-hosts
check-two-hosts: vmm
	+kver=$$(scripts/l1 --print-release) && \
	$(MAKE) --no-print-directory module KVER=$$kver && \
	tests/two-hosts --bench $(bench) --build $(B) --module $(B)/module-$$kver/hvx.ko

# make install, DKMS and signing, in a root of their own.
.PHONY: check-install
check-install: vmm
	tests/install --build $(B) --kver $(KVER)

# Kernels of other releases, fetched into the cache: scripts/kernels.
.PHONY: check-kernels
check-kernels: $(uapi_bin)
	tests/kernels --build $(B) --bench $(bench) $(KERNELS)

check-hosts: vmm $(uapi_bin)
	+kver=$$(scripts/l1 --print-release) && \
	$(MAKE) --no-print-directory module KVER=$$kver && \
	tests/hosts --build $(B) --module $(B)/module-$$kver/hvx.ko $(BOCHS_TESTS)

ifneq ($(filter check,$(MAKECMDGOALS)),)
check-hosts: check-unit
check-two-hosts: check-hosts
endif

# tests/fuzz/NAME_fuzz.c, for libFuzzer: make fuzz, then build/fuzz/NAME_fuzz.
fuzz_src := $(wildcard tests/fuzz/*_fuzz.c)
.PHONY: fuzz
fuzz: $(patsubst tests/%.c,$(B)/%,$(fuzz_src))
define fuzz_rule
$(patsubst tests/%.c,$(B)/%,$(1)): $(1) $(call units_of,$(1))
endef
$(foreach s,$(fuzz_src),$(eval $(call fuzz_rule,$(s))))
$(patsubst tests/%.c,$(B)/%,$(fuzz_src)): $(B)/gen/filters.h
$(B)/fuzz/%_fuzz:
	@mkdir -p $(@D)
	$(call say,LD,$@)clang $(BASE_CPPFLAGS) $(PKG_CFLAGS) -std=gnu11 -O1 -g -fsanitize=fuzzer,address,undefined \
		-o $@ $(filter %.c,$^) $(call pkg_libs,libxml-2.0 libcap liburing json-c libdeflate libzstd)

# BENCH_ARGS: options and parts of tests/bench/run, such as "--check exits".
.PHONY: bench
bench: vmm
	+kver=$$(scripts/l1 --print-release) && \
	$(MAKE) --no-print-directory module KVER=$$kver && \
	tests/bench/run --build $(B) --module $(B)/module-$$kver/hvx.ko $(BENCH_ARGS)

# --- install ---------------------------------------------------------------

dkms_src = $(DESTDIR)/usr/src/hvx-$(VERSION)
man_pages := $(wildcard docs/man/*.[1-8])

.PHONY: install
install: vmm
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)/usr/lib/udev/rules.d
	$(if $(wildcard cli/main.c),install -m 755 $(B)/hvx $(DESTDIR)$(BINDIR)/)
	$(if $(filter-out $(B)/hvx,$(programs)),install -m 755 $(filter-out $(B)/hvx,$(programs)) $(DESTDIR)$(LIBEXECDIR)/)
	install -m 644 packaging/99-hvx.rules $(DESTDIR)/usr/lib/udev/rules.d/
	set -e; for page in $(man_pages); do \
		install -D -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; done
	$(if $(wildcard packaging/completion/hvx.bash),install -D -m 644 packaging/completion/hvx.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/hvx)
	$(if $(wildcard packaging/completion/_hvx),install -D -m 644 packaging/completion/_hvx \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_hvx)
	set -e; for unit in system user; do install -d $(DESTDIR)$(UNITDIR)/$$unit; \
		sed 's,@BINDIR@,$(BINDIR),' packaging/systemd/$$unit/hvx@.service \
			> $(DESTDIR)$(UNITDIR)/$$unit/hvx@.service; done
	rm -rf $(dkms_src)
	install -d $(dkms_src)
	cp -r Kbuild kmod include $(dkms_src)/
	find $(dkms_src) -type f ! -name '*.[chS]' ! -name Kbuild -delete
	sed 's/@VERSION@/$(VERSION)/' packaging/dkms.conf > $(dkms_src)/dkms.conf
	$(if $(DESTDIR),,packaging/post-install $(VERSION))

.PHONY: uninstall
uninstall:
	$(if $(DESTDIR),,packaging/pre-uninstall $(VERSION))
	rm -f $(DESTDIR)$(BINDIR)/hvx $(DESTDIR)/usr/lib/udev/rules.d/99-hvx.rules
	rm -f $(DESTDIR)$(UNITDIR)/system/hvx@.service $(DESTDIR)$(UNITDIR)/user/hvx@.service
	rm -rf $(DESTDIR)$(LIBEXECDIR) $(dkms_src)
	set -e; for page in $(man_pages); do rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; done
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hvx
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_hvx

# --- the rest --------------------------------------------------------------

.PHONY: format
format:
	clang-format -i $$(git ls-files 'vmm/*.[ch]' 'devices/*.[ch]' 'cli/*.[ch]' 'tests/*.[ch]')

.PHONY: clean
clean:
	rm -rf build build-asan

.PHONY: help
help:
	@echo 'make                 everything: userspace, and the module for KVER=$(KVER)'
	@echo 'make vmm             hvx, hvx-vmm and the helpers, in $(B)/'
	@echo 'make module          hvx.ko; KVER=release or KDIR=headers choose the kernel'
	@echo 'make check           all tests but those of check-bochs that BOCHS_TESTS="$(BOCHS_TESTS)" leaves out'
	@echo 'make check-unit      unit tests, under ASan and UBSan; TESTS="NAME..." picks some'
	@echo 'make check-nested    tests in the nested host; TESTS="NAME..." picks some'
	@echo 'make check-bochs     the same under Bochs: BENCH=bochs-intel (VT-x) or bochs-amd (AMD-V)'
	@echo 'make check-kernels   tests on kernels of other releases; KERNELS="6.12 7.3" picks some'
	@echo 'make check-debug     tests on a kernel with KASAN, UBSAN, lockdep, kmemleak; TESTS="NAME..."'
	@echo '                     (both of them, and check-two-hosts, on VT-x with BENCH=bochs-intel)'
	@echo 'make check-power     suspend, kexec, reboot, crash of a host while a guest runs'
	@echo 'make check-two-hosts a guest moves between two nested hosts that run at once'
	@echo 'make check-install   make install, DKMS and module signing, in a root of their own'
	@echo 'make fuzz            fuzzers (libFuzzer, clang) into $(B)/fuzz/'
	@echo 'make bench           instruction counts against KVM, into docs/performance.md; fails where one is'
	@echo '                     worse than there; BENCH_ARGS="--check exits" only compares, and a part only;'
	@echo '                     BENCH_ARGS=--vt-x is for VT-x, under Bochs'
	@echo 'make install         to PREFIX=$(PREFIX), the module through DKMS; also uninstall'
	@echo 'make format          clang-format over userspace; make clean'
	@echo 'ASAN=1 builds into build-asan/ with ASan and UBSan; V=1 shows commands'

say = $(if $(V),,@printf '  %-4s %s\n' '$(1)' '$(2)' && )

.DELETE_ON_ERROR:

-include $(patsubst %.o,%.d,$(call obj,$(vmm_src) $(cli_src) $(helper_src) $(console_src) $(uapi_src) tests/uapi/tg.c))
-include $(shell [ ! -d $(B)/san ] || find $(B)/san -name '*.d')
