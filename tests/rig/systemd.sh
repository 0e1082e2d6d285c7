#!/bin/bash
# systemd.sh boot STATE [PATH...]
#
# Boot systemd as process 1 of namespaces of its own, as root, until it ends or this script gets TERM. This process keeps
# the machine's namespaces, and cleans up; its child goes on from stage to stage until it is systemd: `enter` gives it a
# control group of its own, `become` makes its root. None of them holds on to the machine's mounts once systemd runs.
#
# The root is an overlay of the machine's, whose changes vanish with it; only below STATE are they kept. There are:
# units (/etc/systemd/system), timers (the stamps of persistent timers), stock (units copied of the machine: no others
# are known), localtime if its time zone is to be another, pid (of process 1, once systemd is about to start).
# Each PATH can be read there, wherever it is mounted, also by others than root. The network is the machine's.
set -euo pipefail

STAGE=$1
STATE=$2
shift 2

boot() {
  local group=respaldo-systemd-$$ child
  mkdir -p "$STATE"/{control,root,layers}
  setpriv --pdeathsig KILL unshare --pid --fork --kill-child unshare --mount --uts --ipc bash "$0" enter "$STATE" "$group" "$@" &
  child=$!
  trap 'kill -KILL $child' TERM INT
  # A signal that is trapped ends the first wait, not the child.
  wait $child || wait $child || true
  trap '' TERM INT
  unshare --mount bash "$0" sweep "$STATE" "$group"
}

enter() {
  mount -t cgroup2 none "$STATE/control"
  mkdir -p "$STATE/control/$1"
  echo 0 >"$STATE/control/$1/cgroup.procs"
  shift
  exec unshare --cgroup bash "$0" become "$STATE" "$@"
}

sweep() {
  local group=$STATE/control/$1
  mount -t cgroup2 none "$STATE/control"
  if [ ! -d "$group" ]; then return; fi
  if [ -e "$group/cgroup.kill" ]; then echo 1 >"$group/cgroup.kill"; fi
  for _ in $(seq 100); do
    # Deepest first; what was killed is not gone at once.
    if find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; then return; fi
    sleep 0.1
  done
  echo "$1 is still in use" >&2
  return 1
}

become() {
  # Nowhere else: on the machine's own root, systemd would begin by clearing /tmp.
  [ $$ = 1 ]
  local pid root=$STATE/root path parent device
  # As the machine counts: this /proc is still its own.
  read -r pid _ </proc/self/stat
  mount -t tmpfs layers "$STATE/layers"
  mkdir "$STATE"/layers/{upper,work}
  mount -t overlay -o "lowerdir=/,upperdir=$STATE/layers/upper,workdir=$STATE/layers/work" overlay "$root"
  for path in dev run tmp var/log var/tmp; do mount -t tmpfs -o mode=755 own "$root/$path"; done
  chmod 1777 "$root"/{tmp,var/tmp}
  for path in "$@"; do
    mkdir -p "$root$path"
    parent=$(dirname "$path")
    while [ "$parent" != / ]; do
      chmod a+x "$root$parent"
      parent=$(dirname "$parent")
    done
  done
  for path in "$@"; do mount --bind -o ro "$path" "$root$path"; done
  mkdir -p "$root$STATE" "$root"/{dev/pts,dev/shm,etc/systemd/system,var/lib/systemd/timers}
  mount --bind "$STATE" "$root$STATE"
  mount --bind "$STATE/units" "$root/etc/systemd/system"
  mount --bind "$STATE/timers" "$root/var/lib/systemd/timers"
  for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    # shellcheck disable=SC2086
    mknod -m 666 "$root/dev/${device%% *}" c ${device#* }
  done
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t proc proc "$root/proc"
  mount --bind -o ro "$root/proc/sys" "$root/proc/sys"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 none "$root/sys/fs/cgroup"
  if [ -e "$STATE/localtime" ]; then cp --remove-destination "$STATE/localtime" "$root/etc/localtime"; fi
  cd "$root"
  pivot_root . .
  umount -l .
  cd /
  echo "$pid" >"$STATE/pid"
  # It takes itself for a container's, and cannot set the machine's clock, load modules or audit.
  exec env -i container=respaldo PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_GENERATOR_PATH=/nowhere \
    SYSTEMD_UNIT_PATH="/etc/systemd/system:$STATE/stock" \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-audit_control,-syslog,-mac_admin \
    /lib/systemd/systemd --system --unit=respaldo-test.target --show-status=no
}

"$STAGE" "$@"
