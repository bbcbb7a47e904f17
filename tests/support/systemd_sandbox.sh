#!/bin/bash
# A real systemd as PID 1 of its own namespaces, on a host whose own PID 1 need not be systemd.
#
#   systemd_sandbox.sh check            says in one line why it cannot work here; exit status 0 when it can
#   systemd_sandbox.sh up NAME          boots; prints the PID of the inner PID 1
#   systemd_sandbox.sh run NAME CMD...  runs CMD inside as root; the exit status is CMD's
#   systemd_sandbox.sh down NAME        powers off and leaves nothing behind
#   systemd_sandbox.sh hold NAME        up, then down, and SBX_DIR away, as soon as stdin ends:
#                                       dies with whoever holds the pipe
#
# The inside sees the host's root through an overlay whose upper layer is a tmpfs: nothing is written to the host.
# Needs root, util-linux, coreutils, awk, a kernel with overlayfs and cgroup2, and systemd and dbus in SBX_ROOT;
# iproute2 or python3 to bring lo up.
#
#   SBX_DIR      where sandboxes keep their state, mode 0700; without spaces, commas or colons
#   SBX_ROOT     the tree to boot (/)
#   SBX_SIZE     how much can be written inside (1g)
#   SBX_TIMEOUT  seconds to wait for the boot (30)
set -eu
export SBX_ROOT=${SBX_ROOT:-/} SBX_SIZE=${SBX_SIZE:-1g}
SBX_TIMEOUT=${SBX_TIMEOUT:-30}
SBX_DIR=${SBX_DIR:-${TMPDIR:-/tmp}/systemd-sandbox-$(id -u)}
SELF=$(readlink -f "$0")
PATH=$PATH:/usr/sbin:/sbin
INSIDE_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Units that want hardware, the network or the host's identity; without them the boot takes half a second.
MASKED="systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket
  systemd-udevd-control.socket systemd-sysctl.service systemd-modules-load.service
  systemd-timesyncd.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount
  proc-sys-fs-binfmt_misc.mount systemd-resolved.service systemd-networkd.service
  systemd-networkd.socket sys-kernel-debug.mount sys-kernel-tracing.mount
  sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount
  systemd-firstboot.service systemd-update-utmp.service systemd-machine-id-commit.service
  systemd-remount-fs.service systemd-hwdb-update.service systemd-pcrphase.service
  systemd-pcrphase-sysinit.service systemd-pcrmachine.service systemd-random-seed.service
  systemd-tpm2-setup-early.service systemd-tpm2-setup.service tmp.mount getty.target
  modprobe@.service"

die() {
  echo "systemd_sandbox: $*" >&2
  exit 2
}

find_init() { # TREE
  local init
  for init in /usr/lib/systemd/systemd /lib/systemd/systemd; do
    if [ -x "${1%/}$init" ]; then
      echo "$init"
      return
    fi
  done
  return 1
}

# --- inside, before systemd: PID 1 of the new PID namespace, in the new mount namespace ---

mount_kernel() { # ROOT
  mount -t proc -o nosuid,nodev,noexec proc "$1/proc"
  # The kernel is shared: the inside must never write its settings. Those of its own network are its own.
  mount --bind "$1/proc/sys" "$1/proc/sys"
  mount -o remount,bind,ro,nosuid,nodev,noexec "$1/proc/sys"
  mkdir -p "$SBX_STATE/fs/proc"
  mount -t proc proc "$SBX_STATE/fs/proc"
  mount --bind "$SBX_STATE/fs/proc/sys/net" "$1/proc/sys/net"
  umount -l "$SBX_STATE/fs/proc"
  if [ -e "$1/proc/sysrq-trigger" ]; then
    mount --bind "$1/proc/sysrq-trigger" "$1/proc/sysrq-trigger"
    mount -o remount,bind,ro "$1/proc/sysrq-trigger"
  fi
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$1/sys"
  mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$1/sys/fs/cgroup"
}

mount_devices() { # ROOT
  local dev=$1/dev spec name major minor
  mount -t tmpfs -o mode=755,nosuid,size=1m tmpfs "$dev"
  mkdir -p "$dev/pts" "$dev/shm" "$dev/mqueue"
  for spec in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<<"$spec"
    mknod -m 666 "$dev/$name" c "$major" "$minor"
  done
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$dev/pts"
  mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$dev/shm"
  ln -s pts/ptmx "$dev/ptmx"
  ln -s /proc/self/fd "$dev/fd"
  ln -s /proc/self/fd/0 "$dev/stdin"
  ln -s /proc/self/fd/1 "$dev/stdout"
  ln -s /proc/self/fd/2 "$dev/stderr"
  : >"$dev/console"
  mount --bind "$SBX_STATE/console" "$dev/console"
}

lo_up() {
  ip link set lo up 2>/dev/null || python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, struct.pack("16sH14s", b"lo", 0x41, b""))'
}

configure() { # ROOT
  local etc=$1/etc unit
  rm -rf "$etc"/systemd/system/*.wants "$etc"/systemd/system/*.requires "$1/var/log/journal"
  mkdir -p "$etc/systemd/system" "$etc/systemd/journald.conf.d" "$etc/systemd/system.conf.d"
  for unit in $MASKED; do ln -sfn /dev/null "$etc/systemd/system/$unit"; done
  # First removed, for the host's may be links.
  rm -f "$etc/fstab" "$etc/machine-id"
  : >"$etc/fstab"
  # A copied id would be the host's identity; none at all makes systemd run its first boot.
  head -c16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$etc/machine-id"
  printf '[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitBurst=0\nForwardToConsole=no\n' \
    >"$etc/systemd/journald.conf.d/sbx.conf"
  printf '[Manager]\nDefaultTimeoutStartSec=30s\nDefaultTimeoutStopSec=10s\nLogLevel=info\n' \
    >"$etc/systemd/system.conf.d/sbx.conf"
  printf '[Unit]\nRequires=basic.target dbus.socket\nAfter=basic.target\nAllowIsolate=yes\n' \
    >"$etc/systemd/system/sbx.target"
}

inner() {
  mount --make-rprivate /
  local fs=$SBX_STATE/fs root=$SBX_STATE/fs/root init
  mkdir -p "$fs"
  mount -t tmpfs -o "mode=755,size=$SBX_SIZE" sbx "$fs"
  mkdir "$fs/up" "$fs/work" "$root"
  mount -t overlay -o "lowerdir=$SBX_ROOT,upperdir=$fs/up,workdir=$fs/work" sbx "$root"
  mkdir -p "$root"/{proc,sys,run,tmp,dev}
  mount_kernel "$root"
  mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
  mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
  mount_devices "$root"
  lo_up || true
  hostname sbx 2>/dev/null || true
  configure "$root"
  init=$(find_init "$root")
  cd "$root"
  mkdir -p .old
  pivot_root . .old
  cd /
  umount -l /.old
  # systemd leaves this out when $container is set, and then every credential is silently empty.
  mount --make-rshared /
  exec env -i container=sbx PATH=$INSIDE_PATH LANG=C.UTF-8 \
    "$init" --system --unit=sbx.target --show-status=1 </dev/null >/dev/console 2>&1
}

# --- outside ---

check() {
  local program scratch rc=0
  [ "$(id -u)" = 0 ] || { echo "needs root" && return 1; }
  for program in unshare nsenter setsid pivot_root awk; do
    [ -n "$(command -v $program)" ] || { echo "needs the program $program" && return 1; }
  done
  find_init "$SBX_ROOT" >/dev/null || { echo "needs systemd" && return 1; }
  [ -n "$(command -v dbus-daemon dbus-broker-launch)" ] || { echo "needs dbus" && return 1; }
  unshare --pid --mount --uts --ipc --cgroup --net --fork true 2>/dev/null ||
    { echo "needs the right to make namespaces" && return 1; }
  scratch=$(mktemp -d)
  # shellcheck disable=SC2016 # its own shell expands it
  unshare --mount --propagation private sh -ec 'mount -t tmpfs t "$1"; mkdir "$1/u" "$1/w" "$1/r" "$1/c"
    mount -t overlay -o "lowerdir=$2,upperdir=$1/u,workdir=$1/w" o "$1/r"; mount -t cgroup2 c "$1/c"
    mkdir "$1/c/sbx-check-$$"; rmdir "$1/c/sbx-check-$$"' sh "$scratch" "$SBX_ROOT" 2>/dev/null || rc=1
  rmdir "$scratch"
  [ $rc = 0 ] || echo "needs overlayfs and a writable cgroup2"
  return $rc
}

# The cgroup of the sandbox, in the host's cgroup2 hierarchy, or in one mounted for it where there is none.
make_cgroup() { # STATE NAME
  local hierarchy
  hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
  if [ -z "$hierarchy" ]; then
    hierarchy=$1/cgroup2
    mkdir -p "$hierarchy"
    mount -t cgroup2 none "$hierarchy"
  fi
  mkdir "$hierarchy/sbx-$2-$$"
  echo "$hierarchy/sbx-$2-$$" >"$1/cgroup"
}

alive() { # PID; a zombie is not
  [ -n "$1" ] && [ -d "/proc/$1" ] && ! grep -qs '^State:.Z' "/proc/$1/status"
}

enter() { # NAME CMD...
  local leader
  leader=$(cat "$SBX_DIR/$1/leader" 2>/dev/null) || die "no sandbox $1"
  alive "$leader" || die "sandbox $1 is dead"
  shift
  nsenter -t "$leader" --mount --uts --ipc --net --pid --cgroup --root --wd="/proc/$leader/root" \
    env -i PATH=$INSIDE_PATH LANG=C.UTF-8 HOME=/root TERM=dumb SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 "$@"
}

up() { # NAME
  [ "$(id -u)" = 0 ] || die "needs root"
  export SBX_STATE=$SBX_DIR/$1
  mkdir -p "$SBX_DIR"
  chmod 700 "$SBX_DIR"
  mkdir "$SBX_STATE" || die "$1 is up already"
  : >"$SBX_STATE/console"
  make_cgroup "$SBX_STATE" "$1"
  # First joins the cgroup, then leaves the namespace: so the inside sees its cgroup as the root.
  # shellcheck disable=SC2016 # its own shell expands it
  setsid bash -c 'echo $$ >"$1/cgroup.procs"
    exec unshare --pid --mount --uts --ipc --cgroup --net --fork --kill-child=SIGKILL --propagation private \
      bash "$2" inner' bash "$(cat "$SBX_STATE/cgroup")" "$SELF" </dev/null >>"$SBX_STATE/console" 2>&1 &
  echo $! >"$SBX_STATE/supervisor"
  disown
  wait_for_boot "$1" $!
}

wait_for_boot() { # NAME SUPERVISOR
  local leader deadline=$((SECONDS + SBX_TIMEOUT))
  while alive "$2" && [ $SECONDS -lt $deadline ]; do
    leader=$(awk '{ print $1 }' "/proc/$2/task/$2/children" 2>/dev/null || true)
    if [ -n "$leader" ] && [ "$(cat "/proc/$leader/comm" 2>/dev/null)" = systemd ]; then
      echo "$leader" >"$SBX_STATE/leader"
      if enter "$1" systemctl is-active --quiet sbx.target 2>/dev/null; then
        echo "$leader"
        return
      fi
    fi
    sleep 0.05
  done
  cat "$SBX_STATE/console" >&2
  die "$1 did not boot"
}

wait_until_dead() { # PID; at most 10 seconds
  local _
  for _ in $(seq 200); do
    alive "$1" || break
    sleep 0.05
  done
}

down() { # NAME
  local state=$SBX_DIR/$1 leader supervisor cgroup _
  [ -d "$state" ] || return 0
  leader=$(cat "$state/leader" 2>/dev/null || true)
  supervisor=$(cat "$state/supervisor" 2>/dev/null || true)
  cgroup=$(cat "$state/cgroup" 2>/dev/null || true)
  # RTMIN+4 is poweroff.target; at SIGTERM systemd would start itself anew.
  if alive "$leader"; then kill -s RTMIN+4 "$leader" 2>/dev/null || true; fi
  if [ -n "$leader" ]; then wait_until_dead "$supervisor"; fi
  if alive "$supervisor"; then kill -9 "$supervisor" 2>/dev/null || true; fi
  if [ -d "$cgroup" ]; then
    if [ -e "$cgroup/cgroup.kill" ]; then echo 1 >"$cgroup/cgroup.kill" 2>/dev/null || true; fi
    for _ in $(seq 50); do
      find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -d "$cgroup" ] || break
      sleep 0.1
    done
  fi
  umount "$state/cgroup2" 2>/dev/null || true
  rm -rf --one-file-system "$state"
}

hold() { # NAME
  # Not $1, which is that of the function that exits.
  held=$1
  trap 'down "$held"; rmdir "$SBX_DIR" 2>/dev/null || true' EXIT
  up "$1"
  cat >/dev/null
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
  check | inner) $command ;;
  up | down | hold) "$command" "${1:?NAME}" ;;
  run) enter "$@" ;;
  *) sed -n '2,/^set -eu/p' "$SELF" | sed '$d' && exit 2 ;;
esac
