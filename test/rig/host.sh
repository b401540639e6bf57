# Makes the process that runs it the first one of a host, then waits for the
# end of its standard input. Runs in new mount, network, pid and UTS namespaces.
#
#   bash host.sh DIR NAME         joins $RIG_CGROUPS, makes a cgroup namespace
#   bash host.sh DIR NAME inside  the rest
set -eu
dir=$1 name=$2

if [ "${3-}" != inside ]; then
	for cgroup in ${RIG_CGROUPS-}; do
		echo 0 >"$cgroup/cgroup.procs"
	done
	exec unshare --cgroup bash "$0" "$dir" "$name" inside
fi

mount --make-rprivate /
hostname "$name"
mount -t proc -o nosuid,nodev,noexec proc /proc

# A sysfs of its own, since /sys/class/net shows the network namespace that it
# was mounted in; with the cgroup file systems, seen from the rig's cgroup.
v2=
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || v2=yes
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
if [ -n "$v2" ]; then
	mount -t cgroup2 cgroup /sys/fs/cgroup
	mkdir -p /sys/fs/cgroup/init
	echo 0 >/sys/fs/cgroup/init/cgroup.procs
	# Processes may be only in leaves once controllers are handed down.
	for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
		echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || :
	done
else
	mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
	while IFS=: read -r _ controller _; do
		[ -n "$controller" ] || continue
		mkdir "/sys/fs/cgroup/${controller#name=}"
		mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/${controller#name=}"
	done </proc/self/cgroup
fi

# What the machine's own Docker and plugins mounted is none of this host's, and is not to
# be held by it.
awk '$5 ~ "^/var/lib/(docker|containerd|mos)/" { print $5 }' /proc/self/mountinfo | tac | while read -r path; do
	umount -l "$path"
done

# What the host writes stays with it. Docker's and containerd's files are on the
# plain file system, since an overlay cannot stand on an overlay, and ours, since
# a file there is not the one that a loop device sees.
for top in etc opt var; do
	mkdir -p "$dir/disk/$top" "$dir/disk/.$top"
	mount -t overlay -o "lowerdir=/$top,upperdir=$dir/disk/$top,workdir=$dir/disk/.$top" "rig-$top" "/$top"
done
for lib in docker containerd mos; do
	mkdir -p "$dir/disk/$lib" "/var/lib/$lib"
	mount --bind "$dir/disk/$lib" "/var/lib/$lib"
done
mount --bind "$dir/run" /run
# A fresh host: the machine's own state of these must not shine through.
if [ ! -e "$dir/disk/made" ]; then
	rm -rf /etc/docker /etc/openvswitch /var/lib/openvswitch /var/log/openvswitch /etc/mos
	mkdir -p /etc/docker/plugins /etc/openvswitch /var/lib/openvswitch /var/log/openvswitch /etc/mos
	touch "$dir/disk/made"
fi
mkdir -p /run/lock /run/docker/plugins /run/openvswitch /run/mos
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$name" >/etc/hosts
printf '%s\n' "$name" >/etc/hostname

ip link set lo up
# Off by default in a new network namespace, as on a machine that boots.
echo 0 >/proc/sys/net/ipv4/ip_forward

echo ready
# Reading ends when whoever made the rig closes the pipe or dies. Bash reaps the
# orphans in the meantime, as the first process of a pid namespace must.
read -r _ || :
