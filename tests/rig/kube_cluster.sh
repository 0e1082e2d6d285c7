#!/bin/bash
# kube_cluster.sh start | stop [--purge] | status | build | path | load IMAGE... | images | restart PROGRAM |
#   kubectl ARGUMENTS
#
# A real Kubernetes of one node on this machine, as root: API server, controllers, scheduler, kubelet, proxy,
# containerd, etcd. No DNS and no dynamic volumes.
#
# start:   build what is missing, run each program that does not run, wait until the node is ready; print the
#          kubeconfig's path. Two at once wait for each other.
# stop:    end it, its containers first; with --purge its state goes too. Takes two minutes at most.
# status:  print the kubeconfig's path of a cluster that answers and is whole; fail where none is.
# build:   compile the programs (kube/, five minutes, then kept by content in the user's cache); print the path.
# path:    print the programs' path if they are built; fail where they are not.
# load:    copy images from the Docker engine to the cluster.
# images:  print the cluster's images, each with its configuration's digest, which is Docker's id of it.
# restart: end one program, apiserver or kubelet for instance, and run it again.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STATE=${RESPALDO_RIG_KUBE_STATE:-/var/lib/respaldo-rig/kube}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/respaldo-rig
SOCKET=/run/respaldo-rig/kube/containerd.sock
VERSION=v1.34.4
BRIDGE=respaldo-kube0
NODE=respaldo-node
NODE_IP=10.91.0.1
PODS=10.91.0.0/16
SERVICES=10.97.0.0/16
API_PORT=16443
ETCD=http://127.0.0.1:12379
ETCD_PEERS=http://127.0.0.1:12380
PAUSE=docker.io/respaldo-test/pause:1
export KUBECONFIG=$STATE/kubeconfig
LOCK=/run/lock/respaldo-rig-kube.lock
PROGRAMS="etcd containerd apiserver controller-manager scheduler kubelet proxy"

say() { echo "kube_cluster: $*" >&2; }

binary_path() {
  echo "$CACHE/kube-$(cat "$HERE"/kube/{main.go,go.mod,go.sum} <(echo "$VERSION") | sha256sum | cut -c1-16)"
}
KUBE=$(binary_path)

build() {
  if [ -x "$KUBE" ]; then return; fi
  if ! command -v go >/dev/null; then say "building Kubernetes takes Go"; exit 1; fi
  say "building Kubernetes $VERSION, once"
  mkdir -p "$CACHE"
  local flags="-s -w" field
  for field in "gitVersion=$VERSION" gitMajor=1 gitMinor=34; do flags+=" -X k8s.io/component-base/version.$field"; done
  (cd "$HERE/kube" && CGO_ENABLED=0 nice -n 10 go build -trimpath -buildvcs=false -ldflags "$flags" -o "$KUBE.$$" .)
  mv "$KUBE.$$" "$KUBE"
}

# The image of the process that holds a pod's namespaces: it waits, and reaps what falls to it.
pause_image() {
  if docker image inspect "$PAUSE" >/dev/null 2>&1; then return; fi
  local directory
  directory=$(mktemp -d)
  cat >"$directory/pause.go" <<'GO'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			os.Exit(0)
		}
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
}
GO
  (cd "$directory" && CGO_ENABLED=0 go build -ldflags '-s -w' -o pause pause.go)
  tar -C "$directory" -c pause | docker import --change 'ENTRYPOINT ["/pause"]' - "$PAUSE" >/dev/null
  rm -rf "$directory"
}

certificate() { # certificate NAME SUBJECT EXTENSION
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
    -extfile <(echo "$3") 2>/dev/null
}

configure() {
  if [ -f "$KUBECONFIG" ]; then return; fi
  mkdir -p "$STATE"/{pki,cni}
  (
    cd "$STATE/pki"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 3650 -subj /CN=respaldo-test 2>/dev/null
    openssl genrsa -out accounts.key 2048 2>/dev/null
    openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
    certificate apiserver /CN=apiserver \
      "subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$NODE_IP,IP:${SERVICES%.0/16}.1"
    certificate admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
    certificate kubelet-client /O=system:masters/CN=kubelet-client extendedKeyUsage=clientAuth
  )
  # restrict_oom_score_adj: a machine without CAP_SYS_RESOURCE cannot start a pod otherwise.
  cat >"$STATE/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd"
state = "${SOCKET%/*}"
[grpc]
  address = "$SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni"
TOML
  cat >"$STATE/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "respaldo-test", "plugins": [
  {"type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "subnet": "$PODS", "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  cat >"$STATE/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/pki/ca.crt}}
authorization: {mode: Webhook}
port: 20250
healthzPort: 20248
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$SOCKET
evictionHard: {nodefs.available: "1%", imagefs.available: "1%"}
YAML
  cat >"$KUBECONFIG" <<YAML
apiVersion: v1
kind: Config
current-context: respaldo-test
contexts: [{name: respaldo-test, context: {cluster: respaldo-test, user: admin}}]
clusters: [{name: respaldo-test, cluster: {server: "https://127.0.0.1:$API_PORT", certificate-authority: $STATE/pki/ca.crt}}]
users: [{name: admin, user: {client-certificate: $STATE/pki/admin.crt, client-key: $STATE/pki/admin.key}}]
YAML
}

# Each takes one processor: they wait more than they work, and Go's threads that look for work take it from the tests.
launch() { # launch NAME COMMAND...: in the background and in a session of its own, its number and its log kept
  local name=$1
  shift
  GOMAXPROCS=1 setsid "$@" >>"$STATE/$name.log" 2>&1 </dev/null 8>&- &
  echo $! >"$STATE/$name.pid"
}

run_program() {
  local pki=$STATE/pki
  case "$1" in
    etcd) launch etcd etcd --data-dir "$STATE/etcd" --unsafe-no-fsync --listen-client-urls $ETCD --advertise-client-urls $ETCD \
      --listen-peer-urls $ETCD_PEERS --initial-advertise-peer-urls $ETCD_PEERS --initial-cluster default=$ETCD_PEERS ;;
    containerd) launch containerd containerd -c "$STATE/containerd.toml" ;;
    # The node's name does not resolve, so the kubelet is reached by its address.
    apiserver) launch apiserver "$KUBE" apiserver --etcd-servers=$ETCD --secure-port=$API_PORT \
      --advertise-address=$NODE_IP --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
      --client-ca-file="$pki/ca.crt" --service-account-key-file="$pki/accounts.pub" \
      --service-account-signing-key-file="$pki/accounts.key" \
      --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=$SERVICES \
      --authorization-mode=Node,RBAC --kubelet-preferred-address-types=InternalIP --allow-privileged=true \
      --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" ;;
    # What the binder of volumes misses, by two of its updates that meet, it sees again after this time.
    controller-manager) launch controller-manager "$KUBE" controller-manager --kubeconfig="$KUBECONFIG" \
      --secure-port=20257 --service-account-private-key-file="$pki/accounts.key" --root-ca-file="$pki/ca.crt" \
      --use-service-account-credentials=true --leader-elect=false --pvclaimbinder-sync-period=1s ;;
    scheduler) launch scheduler "$KUBE" scheduler --kubeconfig="$KUBECONFIG" --secure-port=20259 --leader-elect=false ;;
    kubelet) launch kubelet "$KUBE" kubelet --config="$STATE/kubelet.yaml" --kubeconfig="$KUBECONFIG" \
      --hostname-override=$NODE --node-ip=$NODE_IP --root-dir="$STATE/kubelet" ;;
    proxy) launch proxy "$KUBE" proxy --kubeconfig="$KUBECONFIG" --hostname-override=$NODE --cluster-cidr=$PODS \
      --conntrack-max-per-core=0 --healthz-bind-address=127.0.0.1:20256 --metrics-bind-address=127.0.0.1:20249 ;;
    *) say "no such program: $1"; exit 2 ;;
  esac
}

wait_for() { # wait_for SECONDS COMMAND...
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$until" ]; then
      say "gave up waiting for: $*"
      tail -n 5 "$STATE"/*.log >&2
      exit 1
    fi
    sleep 0.3
  done
}

kubectl() { "$KUBE" kubectl "$@"; }

answers() { [ -x "$KUBE" ] && [ -f "$KUBECONFIG" ] && timeout 5 "$KUBE" kubectl get --raw /readyz >/dev/null 2>&1; }

# Whether a program runs, by the number that was kept: one of the machine's earlier life may be anybody's.
runs() { # runs NAME
  local pid
  pid=$(cat "$STATE/$1.pid" 2>/dev/null) || return 1
  case "$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null)" in *"$STATE"* | *"$KUBE"*) return 0 ;; *) return 1 ;; esac
}

# Docker's engine drops what is forwarded, also from pod to pod over one bridge.
pods_meet() { iptables "$1" FORWARD -i $BRIDGE -o $BRIDGE -j ACCEPT 2>/dev/null; } # pods_meet -C | -I | -D

# An API server that answers is not yet a cluster: without controllers, scheduler or kubelet no pod ever starts.
is_whole() {
  local name
  for name in $PROGRAMS; do runs "$name" || return 1; done
  { [ "$(id -u)" != 0 ] || pods_meet -C; } && answers
}

alone() { # keep every other start, stop and restart waiting until this process ends
  exec 8>"$LOCK"
  flock --timeout 150 8 || { say "another start or stop has the lock"; exit 1; }
}

revive() { runs "$1" || run_program "$1"; } # revive NAME

start() {
  if is_whole; then echo "$KUBECONFIG"; return; fi
  if [ "$(id -u)" != 0 ]; then say "running a cluster takes root"; exit 1; fi
  build
  alone
  if is_whole; then echo "$KUBECONFIG"; return; fi
  pause_image
  configure
  # The bridge is there first: its address is the node's, and pods reach the API server by it.
  ip link show $BRIDGE >/dev/null 2>&1 || ip link add $BRIDGE type bridge
  ip addr replace $NODE_IP/16 dev $BRIDGE
  ip link set $BRIDGE up
  sysctl -qw net.ipv4.ip_forward=1
  pods_meet -C || pods_meet -I
  revive etcd
  revive containerd
  revive apiserver
  wait_for 90 kubectl get --raw /readyz
  revive controller-manager
  revive scheduler
  wait_for 60 test -S "$SOCKET"
  wait_for 30 ctr -a "$SOCKET" version
  load "$PAUSE"
  revive kubelet
  revive proxy
  # "Ready" may be what a kubelet that is gone said last: what counts is said since then.
  wait_for 90 kubectl get --raw /healthz --server=http://127.0.0.1:20248
  wait_for 90 kubectl wait --for=condition=Ready node/$NODE --timeout=1s
  wait_for 60 kubectl get serviceaccount default
  echo "$KUBECONFIG"
}

load() {
  local image
  for image in "$@"; do docker save "$image" | ctr -a "$SOCKET" -n k8s.io images import - >/dev/null; done
}

images() {
  local name
  ctr -a "$SOCKET" -n k8s.io images ls -q | while read -r name; do
    case "$name" in sha256:*) ;; *)
      echo "$name $(ctr -a "$SOCKET" -n k8s.io content get "$(ctr -a "$SOCKET" -n k8s.io images ls "name==$name" |
        awk 'NR == 2 { print $3 }')" | sed -nE 's/.*"config":\{[^}]*"digest":"([^"]*)".*/\1/p')" ;;
    esac
  done
}

end() { # end NAME: by its own number, and wait until it is gone
  local pid
  if ! runs "$1"; then
    rm -f "$STATE/$1.pid"
    return
  fi
  pid=$(cat "$STATE/$1.pid")
  rm -f "$STATE/$1.pid"
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 60); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
}

stop() { # the containers first, then the programs, newest first
  local name mount
  end kubelet
  if [ -S "$SOCKET" ]; then
    timeout 10 ctr -a "$SOCKET" -n k8s.io tasks ls -q 2>/dev/null |
      timeout 50 xargs -r -n 1 -P 8 ctr -a "$SOCKET" -n k8s.io tasks rm -f >/dev/null 2>&1 8>&- || true
  fi
  for name in proxy scheduler controller-manager apiserver containerd etcd; do end $name; done
  if [ "${1:-}" = --purge ]; then
    # Pods' tokens and secrets, and containers' root file systems, are mounts of their own.
    awk -v a="$STATE/" -v b="${SOCKET%/*}/" 'index($2, a) == 1 || index($2, b) == 1 { print $2 }' /proc/mounts | sort -r |
      while read -r mount; do umount -l "$mount" || true; done
    pods_meet -D || true
    ip link delete $BRIDGE 2>/dev/null || true
    rm -rf "$STATE" "${SOCKET%/*}"
  fi
}

case "${1:-}" in
  start) start ;;
  stop) alone && stop "${2:-}" ;;
  status) if is_whole; then echo "$KUBECONFIG"; else say "no whole cluster of ours answers"; exit 1; fi ;;
  build) build && echo "$KUBE" ;;
  path) [ -x "$KUBE" ] && echo "$KUBE" ;;
  load) shift && load "$@" ;;
  images) images ;;
  restart) alone && end "${2:?which program}" && run_program "$2" ;;
  kubectl) shift && build && exec "$KUBE" kubectl "$@" ;;
  *) sed -n '2,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
