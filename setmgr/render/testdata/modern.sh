docker create \
  --name=Modern-1.x.infra \
  --hostname=Modern-1.x \
  --network='name=prod,"driver-opt=mos.a=b,c",driver-opt=mos.b=d' \
  --mac-address=02:42:0a:63:00:30 \
  --ipc=shareable \
  --cgroup-parent=mosset-modern_1_x_9129b82c.slice \
  --pids-limit=64 \
  --oom-score-adj=-998 \
  --mount=type=volume,source=shared,target=/mnt/set \
  --privileged \
  --read-only \
  --security-opt=no-new-privileges \
  --tty \
  --no-healthcheck \
  --restart=always \
  --stop-timeout=1 \
  --log-driver=none \
  --label=mos.hash=HASH \
  --label=mos.role=infra \
  --label=mos.set=Modern-1.x \
  --label=mos.spec=SPEC \
  --annotation=io.containerd.runc.v2.group=modern \
  mos-test:1

docker create \
  --name=Modern-1.x.app \
  --network=container:3f2a \
  --ipc=container:3f2a \
  --pid=container:3f2a \
  --cgroup-parent=mosset-modern_1_x_9129b82c.slice \
  --mount=type=volume,source=shared,target=/logs,volume-subpath=logs/app \
  --device=vendor.com/class=name \
  --security-opt=seccomp=builtin \
  --restart=always \
  --label=mos.hash=HASH \
  --label=mos.index=0 \
  --label=mos.member=app \
  --label=mos.rev=1 \
  --label=mos.role=member \
  --label=mos.set=Modern-1.x \
  --label=mos.spec=SPEC \
  --annotation=org.systemd.property.MemoryHigh=1 \
  mos-test:1

