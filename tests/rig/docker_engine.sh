#!/bin/bash
# docker_engine.sh start | stop | status
#
# start: where no Docker engine answers, run dockerd (as root) and wait until it does. Where one answers, do nothing.
# stop:  end the engine that start has run, and no other.
set -euo pipefail

STATE=${RESPALDO_RIG_STATE:-/run/respaldo-rig}
PIDFILE=$STATE/dockerd.pid
LOG=$STATE/dockerd.log
DEADLINE_S=${RESPALDO_RIG_DEADLINE_S:-90}

say() { echo "docker_engine: $*" >&2; }
answers() { timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null; }
# Is PID a live process of this program? A pid file of a machine's earlier life may name anything.
runs() { [ -n "${1:-}" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]; }
listens() { grep -q -- " $1\$" /proc/net/unix; }

# dockerd takes a socket of containerd's that merely exists for a running one, and refuses to start over a pid file
# whose number belongs to any live process.
remove_stale() {
  local file program
  while read -r file program; do
    if [ -e "$file" ] && ! runs "$(cat "$file")" "$program"; then rm -f "$file"; fi
  done <<'FILES'
/var/run/docker.pid dockerd
/var/run/docker/containerd/containerd.pid containerd
/var/run/docker/containerd/docker-containerd.pid containerd
/run/containerd/containerd.pid containerd
FILES
  for file in /run/docker.sock /run/containerd/containerd.sock /run/containerd/containerd.sock.ttrpc \
    /run/docker/containerd/containerd.sock /run/docker/containerd/containerd.sock.ttrpc; do
    if [ -S "$file" ] && ! listens "$file" && ! listens "/var$file"; then rm -f "$file"; fi
  done
}

mount_controller() { # mount_controller NAME, as cgroups of version 1
  mkdir -p "/sys/fs/cgroup/$1"
  mountpoint -q "/sys/fs/cgroup/$1" || mount -t cgroup -o "$1" cgroup "/sys/fs/cgroup/$1"
}

mount_cgroups() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ] || mountpoint -q /sys/fs/cgroup/memory; then return; fi
  mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null || mount -t tmpfs cgroup /sys/fs/cgroup
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then return; fi
  awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups | while read -r controller; do
    mount_controller "$controller" || true
  done
}

# crun starts a command in a container with a third less work than runc. It takes no cgroups of both versions at once:
# what version 2 has of them where the others are of version 1 goes to version 1 too.
runtime_options() {
  local controller
  if ! command -v crun >/dev/null; then return; fi
  for controller in $(cat /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null); do
    mount_controller "$controller" || return 0
  done
  echo "--add-runtime crun=$(command -v crun) --default-runtime crun"
}

# Databases are made and dropped by the hundred, each of some three hundred files: in memory that takes a third of the
# processor's time. Only where there is plenty, and no container, which may be somebody's, whose volumes would be hidden
# meanwhile. The engine mounts its root over itself, unless it is mounted already.
VOLUMES=/var/lib/docker/volumes
volumes_in_memory() {
  if [ "$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)" -lt 12 ]; then return; fi
  if [ -n "$(ls -A "${VOLUMES%/*}/containers" 2>/dev/null)" ]; then return; fi
  mkdir -p "$VOLUMES"
  mountpoint -q "${VOLUMES%/*}" || mount --bind "${VOLUMES%/*}" "${VOLUMES%/*}"
  mount --make-private "${VOLUMES%/*}"
  mountpoint -q "$VOLUMES" || mount -t tmpfs -o mode=0701,size=50% respaldo-rig "$VOLUMES"
}

# Run dockerd with these options until it answers; fail when it ends, or at the deadline.
attempt() {
  remove_stale
  # A session of its own: Ctrl-C in the terminal is for the tests, which still need the engine to clean up. One processor:
  # it waits more than it works, and Go's threads that look for work cost a sixth of each command.
  GOMAXPROCS=1 setsid dockerd --pidfile "$PIDFILE" --seccomp-profile "$STATE/seccomp.json" "$@" >>"$LOG" 2>&1 </dev/null &
  local child=$! until=$((SECONDS + DEADLINE_S))
  while [ "$SECONDS" -lt "$until" ]; do
    if ! kill -0 "$child" 2>/dev/null; then return 1; fi
    if runs "$(cat "$PIDFILE" 2>/dev/null)" dockerd && answers >/dev/null; then return 0; fi
    sleep 0.2
  done
  end "$child"
  return 1
}

end() {
  local pid=$1 until=$((SECONDS + 30))
  kill "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$until" ]; do sleep 0.2; done
  kill -9 "$pid" 2>/dev/null || true
}

start() {
  local version
  if version=$(answers); then say "an engine answers already: $version"; return; fi
  if [ "$(id -u)" != 0 ]; then say "no engine answers, and starting one takes root"; exit 1; fi
  if ! command -v dockerd >/dev/null; then say "no engine answers, and there is no dockerd here"; exit 1; fi
  mkdir -p "$STATE"
  : >"$LOG"
  # The filter is compiled anew for every command in a container, a fifth of the command's time; nothing strange runs here.
  echo '{"defaultAction": "SCMP_ACT_ALLOW"}' >"$STATE/seccomp.json"
  mount_cgroups
  volumes_in_memory
  local runtime
  runtime=$(runtime_options)
  # Where a kernel lacks overlayfs or netfilter, slower layers and published ports by proxy still do.
  # shellcheck disable=SC2086 # several words
  attempt $runtime || attempt --storage-driver=vfs || attempt --storage-driver=vfs --iptables=false || {
    say "dockerd did not come up:"
    tail -n 40 "$LOG" >&2
    exit 1
  }
  say "started: $(docker info --format '{{.ServerVersion}}, storage {{.Driver}}, cgroup v{{.CgroupVersion}}')"
}

stop() {
  local pid
  pid=$(cat "$PIDFILE" 2>/dev/null || true)
  if ! runs "$pid" dockerd; then say "none of ours runs"; return; fi
  end "$pid"
  rm -f "$PIDFILE"
  if [ "$(findmnt -no SOURCE "$VOLUMES")" = respaldo-rig ]; then umount "$VOLUMES" "${VOLUMES%/*}" || true; fi
  say "stopped"
}

case "${1:-}" in
  start) start ;;
  stop) stop ;;
  status) answers || { say "no engine answers"; exit 1; } ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
