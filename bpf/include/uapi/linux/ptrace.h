/* The registers that a kprobe sees, in the kernel's order (arch/x86/include/asm/ptrace.h, arch/arm64/...). */
#ifndef OOMTRACE_PTRACE_H
#define OOMTRACE_PTRACE_H

#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
struct pt_regs {
	unsigned long long regs[31];
	unsigned long long sp;
	unsigned long long pc;
	unsigned long long pstate;
};
#else
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx;
	unsigned long r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};
#endif

#endif
