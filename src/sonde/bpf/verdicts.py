"""The verifier's messages by class, each with what to do about it; searched in order, the first match counts."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """A class of rejections: a word for it, how its messages look on any kernel, and what to do."""

    kind: str
    pattern: re.Pattern[str]
    hint: str


def classify(message: str) -> Verdict | None:
    """Find the class of a message; None if it is of no class that we know."""
    return next((verdict for verdict in VERDICTS if verdict.pattern.search(message)), None)


def _verdict(kind: str, pattern: str, hint: str) -> Verdict:
    return Verdict(kind, re.compile(pattern), hint)


VERDICTS = (
    _verdict(
        "core-relocation",
        r"CO-RE relocation|call unknown#195896080|invalid func unknown#195896080",
        "this kernel's BTF has no such type or field: ask bpf_core_field_exists() or bpf_core_type_exists() first, "
        "or declare the field as this kernel names it",
    ),
    _verdict(
        "missing-map",
        r"BPF map '.*' is referenced but wasn't created",
        "the program uses a map whose autocreate was switched off: create it, or do not load the program",
    ),
    _verdict(
        "missing-kfunc",
        r"kfunc '.*' is referenced|<invalid kfunc|kernel function .* (?:is not allowed|not found|does not exist)",
        "this kernel has no such kernel function for this type of program: ask bpf_ksym_exists() before the call, "
        "or use a helper",
    ),
    _verdict(
        "missing-null-check",
        r"invalid mem access '\w*_or_null|type=\w*_or_null|may be NULL",
        "the pointer may be NULL here: compare it with NULL (if (!value) return 0;) before it is used",
    ),
    _verdict(
        "packet-bounds",
        r"invalid access to packet|outside of the packet|pkt pointer",
        "prove that the bytes are in the packet: if (data + offset + size > data_end) return XDP_PASS; "
        "and use the same pointer and offset after it",
    ),
    _verdict(
        "write-forbidden",
        r"write into map forbidden|only read is supported|cannot write into|write to .*rodata|read-only",
        "this memory is read-only for programs: const volatile knobs are set before loading; copy what has to change",
    ),
    _verdict(
        "memory-bounds",
        r"invalid access to map (?:value|key)|invalid access to memory|unbounded memory access|invalid access to "
        r"|outside of the allowed memory range|unbounded (?:min|max) value|makes .* pointer be out of bounds",
        "bound the index or the size where the verifier sees it: if (i >= SIZE) return 0; or i &= SIZE - 1; (SIZE a "
        "power of two), on the very variable that is used afterwards",
    ),
    _verdict(
        "uninitialised-stack",
        # An offset within the 512 bytes, so it is not the place but what stands there.
        r"invalid indirect read from stack|uninitialized stack"
        r"|invalid read from stack (?:R\d+ )?off[ =]-(?:\d{1,2}|[1-4]\d\d|50\d|51[0-2])\b",
        "write every byte before it is read: struct key key = {}; padding counts, too",
    ),
    _verdict(
        "stack-bounds",
        r"invalid (?:unbounded )?variable-offset (?:write|read|indirect access) (?:to|from) stack|invalid write to stack"
        r"|invalid read from stack|invalid stack|invalid size of register (?:spill|fill)"
        r"|variable stack access|invalid zero-sized",
        "keep inside the 512 bytes of stack, with an index that is bounded before it is used (if (i >= SIZE) "
        "return 0;); larger things go into a per-CPU array",
    ),
    _verdict(
        "uninitialised-register",
        r"!read_ok|frame pointer is read only",
        "give the variable a value on every path that leads here; after a call only the result and saved "
        "variables are left",
    ),
    _verdict(
        "unbounded-loop",
        r"infinite loop detected|back-edge|loop detected",
        "give the loop an end that the verifier can see: for (i = 0; i < LIMIT; i++), bpf_for() or bpf_loop()",
    ),
    _verdict(
        "too-complex",
        r"BPF program is too large|too many (?:subprogs|states|instructions)|jumps is too complex|complexity limit"
        r"|Limit exceeded|program has too many",
        "the verifier walks through every turn of every loop, at most 1,000,000 instructions: fewer turns, bpf_loop() "
        "(5.17), global functions (verified once), or tail calls",
    ),
    _verdict(
        "leaked-reference",
        r"Unreleased reference|reference leak|would lead to reference leak|Unreleased resource",
        "release on every path what was taken: bpf_ringbuf_submit or _discard after _reserve, bpf_sk_release after a "
        "look-up, a kfunc's own release",
    ),
    _verdict(
        "needs-gpl",
        r"GPL-restricted|non-GPL|from non-GPL compatible",
        'this helper is for GPL-compatible programs: char LICENSE[] SEC("license") = "GPL"; (or "Dual BSD/GPL")',
    ),
    _verdict(
        "needs-privilege",
        r"leaks addr|pointer comparison prohibited|not allowed for !root|prohibited for !root|unprivileged|CAP_\w+",
        "the process lacks CAP_PERFMON (or CAP_SYS_ADMIN), without which pointers may not be compared, stored or "
        "returned: run it with sudo",
    ),
    _verdict(
        "helper-not-available",
        r"cannot use helper|unknown func|invalid func|helper call is not allowed|call is not allowed in|cannot call",
        "this kernel has no such helper, or not for this type of program: choose another helper or program type, or "
        "ask bpf_core_enum_value_exists(enum bpf_func_id, …) before the call",
    ),
    _verdict(
        "pointer-arithmetic",
        r"pointer arithmetic|dereference of modified|pointer \S+ pointer|bitwise operator .* on pointer|partial copy of"
        r"|pointer operation|subtraction from",
        "only constants and bounded numbers may be added to a pointer, and to a context pointer nothing: keep it in "
        "a variable of its own and compute on a copy",
    ),
    _verdict(
        "context-access",
        r"invalid bpf_context access",
        "this type of program has no such field at this offset and size: check the context's type, its size, and that "
        "the access is not split or widened by the compiler (volatile helps)",
    ),
    _verdict(
        "argument-type",
        r"type=\S+ expected=|arg#\d+|R\d is not a (?:known )?(?:const|scalar)|expects? .*(?:pointer|argument)"
        r"|invalid call argument",
        "the helper wants another kind of argument in this register: mostly the address of a variable on the stack or "
        "in a map value, or a size that is a bounded constant",
    ),
    _verdict(
        "scalar-dereference",
        r"invalid mem access '",
        "this is a number for the verifier, not a pointer to memory that it knows: read it with bpf_probe_read_kernel(), "
        "bpf_probe_read_user() or BPF_CORE_READ()",
    ),
    _verdict(
        "misaligned",
        r"misaligned|alignment",
        "atomic operations and pointers need addresses that are a multiple of their size: order the struct widest "
        "field first, and do not pack it",
    ),
    _verdict(
        "return-value",
        r"At program exit the register R0|At (?:async )?callback return|should have been in",
        "this type of program may only return the values named: return 0; (or the verdicts that the hook defines)",
    ),
    _verdict(
        "stack-too-large",
        r"combined stack size|stack (?:size|depth).*(?:[Tt]oo large|exceed)|the call stack of \d+ frames is too deep",
        "512 bytes of stack serve a whole chain of calls: move large variables to a per-CPU array, or nest fewer calls",
    ),
    _verdict(
        "sleep-or-lock",
        r"spin_lock|spin lock|sleepable|rcu_read_lock|preempt|bpf_local_irq|Execution Context",
        "this operation is not allowed while a lock is held or where nothing may sleep: move it out of that region, or "
        'make the program sleepable (SEC("….s"))',
    ),
    _verdict(
        "unknown-instruction",
        # Not of BPF_CALL: that is a kernel function's.
        r"BPF_(?!CALL)\w+ uses (?:reserved fields|invalid atomic)|unknown opcode|invalid BPF_\w+ opcode",
        "this kernel does not know an instruction that the compiler has chosen: compile with -mcpu=v2 (clang 20 and "
        "later default to v3, whose atomic operations came with Linux 5.12)",
    ),
    _verdict(
        "control-flow",
        r"unreachable insn|jump out of range|last insn is not an exit|falls? through|jump into the middle",
        "every instruction must be reachable and every path end in a return: build with clang -O2 and look at the "
        "inline assembly",
    ),
    _verdict(
        "attach-target",
        r"attach_btf_id|attach_prog|is not a function|not (?:a )?(?:sleepable|modifiable)|BTF_ID|failed to find kernel BTF"
        r"|Tracing program|not supported by .* attach|doesn't exist in .*BTF|func_proto",
        "the function or tracepoint named in SEC() is not one that this type of program can attach to on this kernel",
    ),
    _verdict(
        "btf",
        r"[Ii]nvalid (?:BTF|btf)|BTF|line_info|func_info",
        "the object's type information does not fit its code: rebuild it with clang -g and do not strip .BTF.ext",
    ),
)
