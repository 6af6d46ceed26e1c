/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a task's registers and its ABI say of the system call that it makes. One object serves x86-64 and arm64: the
 * kernel's BTF tells which it is. The numbers are those of the kernel's ABI, which do not change;
 * tests/unit/test_syscall_names.py compares them with the generated tables.
 */
#ifndef SONDE_SYSCALL_BPF_H
#define SONDE_SYSCALL_BPF_H

#include "kernel.bpf.h"

enum syscall_abi {
	ABI_NATIVE = 0,
	ABI_COMPAT = 1,
};

enum {
	/* arch/x86/include/asm/thread_info.h, arch/arm64/include/asm/thread_info.h. */
	X86_TS_COMPAT = 0x0002,
	ARM64_TIF_32BIT = 22,
	/* x32 shares the 64-bit entry and marks its numbers. */
	X32_BIT = 0x40000000,
};

enum syscall_number_x86_64 {
	X86_64_RT_SIGRETURN = 15,
	X86_64_CLONE = 56,
	X86_64_FORK = 57,
	X86_64_VFORK = 58,
	X86_64_EXECVE = 59,
	X86_64_EXIT = 60,
	X86_64_EXIT_GROUP = 231,
	X86_64_EXECVEAT = 322,
	X86_64_CLONE3 = 435,
	X32_RT_SIGRETURN = 513,
	X32_EXECVE = 520,
	X32_EXECVEAT = 545,
};

enum syscall_number_arm64 {
	ARM64_EXIT = 93,
	ARM64_EXIT_GROUP = 94,
	ARM64_RT_SIGRETURN = 139,
	ARM64_CLONE = 220,
	ARM64_EXECVE = 221,
	ARM64_EXECVEAT = 281,
	ARM64_CLONE3 = 435,
};

/* i386 and arm (EABI) agree on these, but for two. */
enum syscall_number_compat {
	COMPAT_EXIT = 1,
	COMPAT_FORK = 2,
	COMPAT_EXECVE = 11,
	COMPAT_SIGRETURN = 119,
	COMPAT_CLONE = 120,
	COMPAT_RT_SIGRETURN = 173,
	COMPAT_VFORK = 190,
	COMPAT_CLONE3 = 435,
	I386_EXIT_GROUP = 252,
	I386_EXECVEAT = 358,
	ARM_EXIT_GROUP = 248,
	ARM_EXECVEAT = 387,
};

enum {
	/* What sigreturn leaves in the place of the number. */
	SYSCALL_NONE = -1,
	ERRNO_MAX = 4095,
	ARGUMENTS = 6,
};

struct pt_regs___x86 {
	unsigned long bp;
	unsigned long orig_ax;
} KERNEL_TYPE;

struct pt_regs___arm64 {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
} KERNEL_TYPE;

static __always_inline bool is_x86(void)
{
	return bpf_core_field_exists(struct pt_regs___x86, orig_ax);
}

/* Whether the system call that runs came in by the 32-bit table. */
static __always_inline u8 syscall_abi(struct task_struct *task)
{
	if (is_x86())
		return !!(TASK_READ(task, thread_info.status) & X86_TS_COMPAT);
	return TASK_READ(task, thread_info.flags) >> ARM64_TIF_32BIT & 1;
}

/* The number as the registers have it: exec, sigreturn and tracers change it while the call runs. */
static __always_inline u32 syscall_number(const void *registers)
{
	if (is_x86())
		return BPF_CORE_READ((const struct pt_regs___x86 *)registers, orig_ax);
	return BPF_CORE_READ((const struct pt_regs___arm64 *)registers, syscallno);
}

/* exit and exit_group: counted when they are called, since they do not come back. */
static __always_inline bool syscall_never_returns(u32 number, u8 abi)
{
	if (unlikely(abi == ABI_COMPAT))
		return number == COMPAT_EXIT || number == (is_x86() ? I386_EXIT_GROUP : ARM_EXIT_GROUP);
	if (!is_x86())
		return number == ARM64_EXIT || number == ARM64_EXIT_GROUP;
	number &= ~X32_BIT;
	return number == X86_64_EXIT || number == X86_64_EXIT_GROUP;
}

/*
 * fork and its like, which return twice. The parent gets a number or an error, never 0: a 0 is the child's first
 * return to user space, and the end of no call of the child's.
 */
static __always_inline bool syscall_returns_twice(u32 number, u8 abi)
{
	if (abi == ABI_COMPAT)
		return number == COMPAT_CLONE || number == COMPAT_FORK || number == COMPAT_VFORK ||
		       number == COMPAT_CLONE3;
	if (!is_x86())
		return number == ARM64_CLONE || number == ARM64_CLONE3;
	number &= ~X32_BIT;
	return (number >= X86_64_CLONE && number <= X86_64_VFORK) || number == X86_64_CLONE3;
}

/* What sigreturn "returns" is the register of the code that a signal interrupted. */
static __always_inline bool syscall_restores_registers(u32 number, u8 abi)
{
	if (abi == ABI_COMPAT)
		return number == COMPAT_SIGRETURN || number == COMPAT_RT_SIGRETURN;
	if (!is_x86())
		return number == ARM64_RT_SIGRETURN;
	return number == X86_64_RT_SIGRETURN || number == (X32_BIT | X32_RT_SIGRETURN);
}

/* A successful exec clears the registers that held its arguments. */
static __always_inline bool syscall_clears_arguments(u32 number, u8 abi)
{
	if (abi == ABI_COMPAT)
		return number == COMPAT_EXECVE || number == (is_x86() ? I386_EXECVEAT : ARM_EXECVEAT);
	if (!is_x86())
		return number == ARM64_EXECVE || number == ARM64_EXECVEAT;
	return number == X86_64_EXECVE || number == X86_64_EXECVEAT || number == (X32_BIT | X32_EXECVE) ||
	       number == (X32_BIT | X32_EXECVEAT);
}

/* The error of a result, 0 for none. 32-bit results are not always sign-extended (arm64 before 6.1). */
static __always_inline u16 syscall_error(s64 result, u32 number, u8 abi)
{
	if (abi == ABI_COMPAT)
		result = (s32)result;
	if (likely((u64)result < (u64)-ERRNO_MAX))
		return 0;
	return syscall_restores_registers(number, abi) ? 0 : -result;
}

/*
 * The arguments, from the registers at exit: they are still what the caller put there, but for exec and sigreturn. The
 * registers' order is user space's ABI (ptrace), so one read takes them all.
 */
static __always_inline void syscall_arguments(u64 *arguments, const void *registers, u8 abi)
{
	struct {
		u64 bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	} x86 = {};

	if (!is_x86()) {
		const struct pt_regs___arm64 *arm64 = registers;

		bpf_probe_read_kernel(arguments, ARGUMENTS * sizeof(u64), &arm64->regs);
		arguments[0] = BPF_CORE_READ(arm64, orig_x0);
		return;
	}
	bpf_probe_read_kernel(&x86, sizeof(x86), &((const struct pt_regs___x86 *)registers)->bp);
	if (abi == ABI_COMPAT) {
		/* A 64-bit program can call the 32-bit table, too; the kernel takes the lower halves. */
		arguments[0] = (u32)x86.bx;
		arguments[1] = (u32)x86.cx;
		arguments[2] = (u32)x86.dx;
		arguments[3] = (u32)x86.si;
		arguments[4] = (u32)x86.di;
		arguments[5] = (u32)x86.bp;
		return;
	}
	arguments[0] = x86.di;
	arguments[1] = x86.si;
	arguments[2] = x86.dx;
	arguments[3] = x86.r10;
	arguments[4] = x86.r8;
	arguments[5] = x86.r9;
}

#endif
