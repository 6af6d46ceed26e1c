# The guest once the host's files are its root: mounts what a system has, runs the command, reports its status.
# settings.sh comes with the initramfs and says what to run: mark, kernel, folder, output.
home=/run/sonde-vm
bb=$home/busybox
. $home/settings.sh

$bb mkdir -p /dev/pts /dev/shm
$bb mount -t devpts devpts /dev/pts
$bb mount -t tmpfs -o mode=1777 tmpfs /dev/shm
$bb mount -t cgroup2 cgroup2 /sys/fs/cgroup
$bb mount -t bpf bpf /sys/fs/bpf
$bb mount -t tracefs tracefs /sys/kernel/tracing
$bb mount -t debugfs debugfs /sys/kernel/debug
$bb mount -t securityfs securityfs /sys/kernel/security
$bb ln -sf /proc/self/fd /dev/fd
for pair in 0:stdin 1:stdout 2:stderr; do
    $bb ln -sf /proc/self/fd/${pair%:*} /dev/${pair#*:}
done
$bb hostname sonde-vm
$bb ip link set lo up

# The kernel's configuration and modules lie where a system has them.  It loads what is asked for, a veth pair or a
# classifier, with busybox's modprobe.
release=$($bb uname -r)
$bb mkdir -p /boot "/lib/modules/$release"
$bb ln -sf "$kernel/config" "/boot/config-$release"
# Over what the host has there, for its own kernel may be this one, or have been.
$bb mount -o bind "$kernel/modules/lib/modules/$release" "/lib/modules/$release"
$bb ln -s busybox $home/modprobe
echo $home/modprobe >/proc/sys/kernel/modprobe

if [ -n "$output" ]; then
    $bb mkdir -p "$output"
    $bb mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=none output "$output" ||
        echo "sonde-vm: cannot share $output" >/dev/console
fi

# The command writes into a pipe, as under any CI; only one process may have the port open.  We keep the pipe's writing
# end so that it does not end between two of the command's processes.
exec 3>"$(echo /dev/vport*p1)"
$bb mkfifo $home/pipe
$bb cat $home/pipe >&3 &
cat=$!
exec 4>$home/pipe
echo "[$mark start]" >&4
status=125
if cd "$folder" 2>&4; then
    /bin/sh $home/command.sh </dev/null >&4 2>&1 3>&- 4>&-
    status=$?
fi
exec 4>&-

# What the command left running may still hold the pipe: it gets a second.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 $cat 2>/dev/null || break
    $bb usleep 100000
done
kill $cat 2>/dev/null
wait $cat 2>/dev/null
$bb sync
echo "[$mark exit $status]" >&3

# The host ends the machine when it has read that line; if it went away, the machine ends itself.
$bb sleep 30
$bb poweroff -f
