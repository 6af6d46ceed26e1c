#!/bin/busybox sh
# The guest's first process: loads what the root needs, lays a writable layer over the host's files, goes there.
# Everything it says goes to the console, which the host shows when the guest does not come up.
bb=/bin/busybox

$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev

for module in /modules/*; do
    $bb insmod "$module" || echo "sonde-vm: cannot load $module"
done

# The root cannot change under a run that lasts minutes, so the page cache may keep what it has read.
$bb mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose root /lower ||
    echo "sonde-vm: cannot mount the host's root"
$bb mount -t tmpfs -o mode=755 tmpfs /upper
$bb mkdir /upper/files /upper/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /newroot ||
    echo "sonde-vm: cannot lay a writable layer over it"

$bb mount -t tmpfs -o mode=755 tmpfs /newroot/run
$bb mkdir /newroot/run/sonde-vm
$bb cp /bin/busybox /main.sh /settings.sh /command.sh /newroot/run/sonde-vm/
for folder in proc sys dev; do
    $bb mkdir -p /newroot/$folder
    $bb mount --move /$folder /newroot/$folder
done
exec $bb switch_root /newroot /run/sonde-vm/busybox sh /run/sonde-vm/main.sh
