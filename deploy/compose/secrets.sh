# Makes the fleet's passwords and tokens in a volume, once. Whoever mounts the volume may read it, under whatever user its image runs:
# the database's, the fleet's and NATS' differ. Outside of containers only root reaches it.
set -euo pipefail
cd /run/backfleet
[[ ! -e complete ]] || exit 0

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

fleet=$(random)
echo -n "$fleet" >fleet.password
random >replication.password
echo "postgres://backfleet:$fleet@primary:5432,standby:5432/app?target_session_attrs=read-write" >main.dsn
echo "postgres://backfleet:$fleet@standby:5432/app" >standby.dsn

nats=$(random)
echo "$nats" >nats.token
echo "authorization { token: \"$nats\" }" >nats.conf

api=$(random)
echo "$api" >api.token
echo "admin operator $(echo -n "$api" | sha256sum | cut -d' ' -f1)" >api.tokens

chmod 0444 ./*
touch complete
