docker create \
  --name=h.infra \
  --hostname=h \
  --network=host \
  --ipc=shareable \
  --cgroup-parent=/mosset.slice/mosset-h.slice \
  --pids-limit=16 \
  --oom-score-adj=-998 \
  --read-only \
  --cap-drop=ALL \
  --security-opt=no-new-privileges \
  --no-healthcheck \
  --restart=always \
  --stop-timeout=1 \
  --log-driver=none \
  --label=mos.hash=HASH \
  --label=mos.role=infra \
  --label=mos.set=h \
  --label=mos.spec=SPEC \
  mos-infra:1

