#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# GDB on a stock kernel with two vCPUs: threads, software and hardware
# breakpoints, a watchpoint, single steps, registers, memory, interrupt, leaving.
# QEMU's TCG intercepts no INT3 and sets no breakpoints from the VMCB: by name, for Bochs' VT-x
# or a CPU.
# bench: named, bochs-named
# limit: 900

. "$(dirname "$0")/lib.sh"

export XDG_RUNTIME_DIR=$work/run HOME=$work
mkdir -m 700 "$XDG_RUNTIME_DIR"
if ! command -v gdb > /dev/null; then
	echo "skipped: no gdb: run scripts/setup"
	exit 77
fi

domain gdb 256 2 "nokaslr cryptomgr.notests hvx.run=\"grep -E ' [TtDdBb] (__x64_sys_sethostname|jiffies|init_uts_ns)\$' /proc/kallsyms; echo HVX-READY; n=0; while :; do n=\$((n+1)); hostname h\$n; done\""
mkfifo "$work/gdb.in"
"$hvx" run --gdb unix "$work/gdb.xml" < "$work/gdb.in" > "$work/gdb.out" 2> "$work/gdb.err" &
guest_pid[gdb]=$!
exec 8> "$work/gdb.in"
guest_in[gdb]=8
wait_for gdb 240 'HVX-READY'

address() { tr -d '\r' < "$work/gdb.out" | sed -n "s/^\([0-9a-f]\{16\}\) . $1\$/0x\1/p"; }
call=$(address __x64_sys_sethostname) jiffies=$(address jiffies) uts=$(address init_uts_ns)
check "the kernel's symbols ($call $jiffies $uts)" [ -n "$call" ] && [ -n "$jiffies" ] && [ -n "$uts" ]
sock=$XDG_RUNTIME_DIR/hvx/gdb/gdb.sock

session() { # gdb's commands on standard input: its output in $work/session.out
	{
		echo "set pagination off"
		echo "set confirm off"
		echo "set remotetimeout 60"
		echo "target remote $sock"
		cat
		echo "detach"
	} > "$work/session.gdb"
	timeout 120 gdb -nx -q -batch -x "$work/session.gdb" > "$work/session.out" 2>&1
	status=$?
	sed 's/^/gdb: /' "$work/session.out"
}
said() { grep -Eq "$1" "$work/session.out"; }

session <<END
info threads
printf "ARCH cs=%x cr0=%d efer=%d cr3=%d\n", \$cs, (\$cr0 & 1), (\$efer & 0x400) != 0, \$cr3 != 0
break *$call
continue
printf "AT %d\n", \$pc == $call
stepi
printf "STEPPED %d\n", \$pc > $call && \$pc < $call + 16
printf "MEMORY %d\n", *(unsigned long *)\$rsp != 0
continue
printf "AGAIN %d\n", \$pc == $call
END
check "gdb ends well ($status)" [ "$status" -eq 0 ]
check "two threads" said '^. 2 +Thread 2 \(vCPU 1, '
check "segment and control registers" said '^ARCH cs=(10|33) cr0=1 efer=1 cr3=1'
check "a software breakpoint" said '^AT 1'
check "a step" said '^STEPPED 1'
check "memory by the guest's page tables" said '^MEMORY 1'
check "the same breakpoint again" said '^AGAIN 1'

# The third letter of the host name: name[] of init_uts_ns begins with sysname.
session <<END
printf "CLEAN %d\n", *(unsigned char *)$call != 0xcc
hbreak *$call
continue
printf "HARD %d\n", \$pc == $call
delete
watch *(char *)($uts + 65 + 2)
continue
delete
set var \$xmm15.v2_int64[0] = 77
printf "XMM %d\n", \$xmm15.v2_int64[0]
set var \$r15 = \$r15 ^ 1
set var \$r15 = \$r15 ^ 1
set var *(char *)($uts) = 'H'
printf "PATCHED %c\n", *(char *)($uts)
print *(char *)0x1234
END
check "leaving took the breakpoint out" said '^CLEAN 1'
check "a hardware breakpoint" said '^HARD 1'
check "a watchpoint" said '^Hardware watchpoint'
check "it saw the write" said '^New value'
check "SSE registers can be written" said '^XMM 77'
check "memory can be written" said '^PATCHED H'
check "memory that is not there is an error" said 'Cannot access memory at address 0x1234'

# Interrupted from outside, while the guest runs.
session <<'END'
python
import os, signal, threading, time
def later():
    time.sleep(2)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=later).start()
end
continue
printf "INTERRUPTED %d\n", $pc != 0
thread 2
printf "OTHER %d\n", $_thread
END
check "an interrupt" said '^INTERRUPTED 1'
check "the other thread" said '^OTHER 2'

# Peers that are no debugger, or a bad one.
python3 - "$sock" <<'END'
import random, socket, sys
def peer(data):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(sys.argv[1])
    try:
        for i in range(0, len(data), 4000):
            s.sendall(data[i:i + 4000])
        s.recv(4096)
    except OSError:
        pass
    s.close()
def packet(text):
    return b'$%s#%02x' % (text, sum(text) & 255)
peer(b'POST / HTTP/1.1\r\nHost: localhost\r\n\r\n$k#6b')
peer(b'$' + b'a' * 100000)
peer(packet(b'm0,ffffffffffffffff') + packet(b'Mffffffffffffffff,1:zz') + packet(b'vCont;s:99'))
peer(b''.join(packet(b'Z0,%x,1' % (0xffffffff81000000 + 64 * n)) for n in range(1100)))
peer(b''.join(packet(b'G' + b'f' * n) for n in range(40)))
random.seed(7)
letters = b'gpmzHTvqQDs?c0123456789abcdef,:;='
for n in range(30):
    peer(b''.join(packet(bytes(random.choice(letters) for _ in range(12))) for _ in range(20)))
END
sleep 1
session <<END
printf "ALIVE %d\n", *(unsigned char *)$call != 0xcc
END
check "after bad peers the guest is as it was" said '^ALIVE 1'
kill -TERM "${guest_pid[gdb]}"
finish gdb 60
check "the guest ran on to its end ($status)" [ "$status" -eq 70 ]
