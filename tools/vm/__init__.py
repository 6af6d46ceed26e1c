"""Other kernels in virtual machines: a command runs on Debian's 5.10, 6.1, 6.12 and newest kernel under QEMU.

    python3 tools/vm/run.py --kernel 6.1 -- COMMAND …     one command on one kernel
    python3 tools/vm/test.py --kernels "5.10 6.1"         the kernel suite; `make test-vm`

The folder is the way of one run: host (what this machine must have) → archive (Debian's packages) → emulator and
kernel (unpacked, cached) → initramfs (what the guest starts with) → machine (QEMU, the guest's output, its exit status).
"""
