#!/usr/bin/env bash
# Start a SLURM of one node, this machine: tests/slurm/start.sh FOLDER PORT
#
# As root, without systemd, and without touching a SLURM or munge that is there already: sockets,
# key, state and logs are in FOLDER, and the ports are PORT and PORT + 1. Debian's packages are
# installed if they are missing. Prints the SLURM_CONF to use; the three .pid files in FOLDER name
# the processes to end.
set -euo pipefail
folder=$(realpath "$1") port=$2

export PATH=$PATH:/usr/sbin
if ! command -v slurmctld slurmd munged >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
fi >&2

mkdir -p "$folder"/{state,spool}
mkdir -p -m 700 "$folder/munge"
head -c 128 /dev/urandom >"$folder/munge/key"
chmod 600 "$folder/munge/key"
# munge wants a socket that all can reach, in a folder that only its owner can write to.
mkdir -p -m 755 "$folder/socket"

node=$(hostname -s)
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthType=auth/munge
# A job that is queued again waits until its credentials have expired.
AuthInfo=socket=$folder/socket/munge,cred_expire=10
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# No cgroups and no accounting, which a container has not.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=1
# Two processors, whatever the machine has.
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=60 State=UP
CONF
export SLURM_CONF=$folder/slurm.conf

munged --force --socket="$folder/socket/munge" --key-file="$folder/munge/key" \
  --pid-file="$folder/munged.pid" --log-file="$folder/munge/munged.log" \
  --seed-file="$folder/munge/seed" >&2
slurmctld -f "$SLURM_CONF" >&2
slurmd -f "$SLURM_CONF" >&2

for _ in $(seq 100); do
  if sinfo --noheader --format=%t 2>/dev/null | grep -qx idle; then
    echo "$SLURM_CONF"
    exit 0
  fi
  sleep 0.2
done
echo "SLURM did not start: see $folder/slurmctld.log and $folder/slurmd.log" >&2
exit 1
