#!/usr/bin/env bash
# Start a systemd that knows sonde's unit alone, in namespaces of its own: this script is the first process of a pid
# namespace.  FOLDER is where to mount, UNITS what it may start, CGROUP2 the hierarchy of the machine.
# Everything it mounts and makes goes with it, but for the one cgroup, which the caller removes.
set -euo pipefail
root=$FOLDER/root

mount --make-rprivate /
mount -t tmpfs none "$FOLDER"
mkdir "$FOLDER/upper" "$FOLDER/work" "$root"
# The machine's own files, as they are; what is written stays in memory.
mount -t overlay overlay -o "lowerdir=/,upperdir=$FOLDER/upper,workdir=$FOLDER/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sysfs "$root/sys"
for place in run tmp var; do mount -t tmpfs tmpfs "$root/$place"; done
mkdir -p "$root"/var/{lib,log,tmp} "$root/run/units" "$root"/opt/{base,source,packages} "$root/opt/sonde/bin" "$root/etc/sonde"

# Python and the packages as another user can read them, wherever they are; as pip would have made it below /opt/sonde.
mount --bind "$PYTHON_BASE" "$root/opt/base"
mount --bind "$SOURCE" "$root/opt/source"
mount --bind "$PACKAGES" "$root/opt/packages"
ln -s "/opt/base/bin/$PYTHON_NAME" "$root/opt/sonde/bin/python"
cat >"$root/opt/sonde/bin/sonde" <<-'END'
	#!/opt/sonde/bin/python
	import sys
	from sonde.cli import start
	sys.exit(start())
END
chmod 755 "$root/opt/sonde/bin/sonde"
cp -r "$UNITS/." "$root/run/units"
cp "$UNITS/sonde.toml" "$root/etc/sonde"

echo $$ >"$CGROUP2/$CGROUP_NAME/cgroup.procs"
ip link set lo up
mkdir "$root/before"
cd "$root"
pivot_root . before
umount -l /before
systemd-sysusers /run/units/sonde.sysusers.conf
export container=other SYSTEMD_UNIT_PATH=/run/units SYSTEMD_LOG_TARGET=console
exec unshare --cgroup sh -c '
	mount -t cgroup2 none /sys/fs/cgroup
	exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no'
