#!/bin/bash
# SPDX-License-Identifier: LGPL-3.0-or-later
# A run on one node of a SLURM cluster, in the image of docker/Dockerfile, that goes on by itself:
# sbatch job.sh run.py [arguments]
#
# Five minutes before the limit SLURM sends SIGTERM to this script alone (B:), which hands it on. The
# run (llg.until_stopped) ends at its next step with a checkpoint and exit code 143, and the job
# enters the queue again; its script reads the checkpoint where there is one. Any other exit code
# ends the job.
#SBATCH --job-name=llg
#SBATCH --nodes=1
#SBATCH --ntasks=32
#SBATCH --cpus-per-task=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append

image=${IMAGE:-dolfinx_llg.sif}
# Empty LAUNCH: without a container, as the tests run this file.
launch=${LAUNCH-"apptainer exec $image"}
ranks=${SLURM_NTASKS:-2}
export OMP_NUM_THREADS=1

$launch mpirun -n "$ranks" python "$@" &
job=$!
told=0
trap 'told=1; kill -TERM "$job"' TERM INT
wait "$job"
code=$?
# A trap ends wait; the run is still writing its checkpoint.
while kill -0 "$job" 2>/dev/null; do
    wait "$job"
    code=$?
done
if [ "$told" = 1 ] && [ "$code" != 0 ]; then
    echo "the run was told to end (exit code $code); the job enters the queue again"
    ${REQUEUE:-scontrol requeue} "${SLURM_JOB_ID:-0}"
    exit 0
fi
exit "$code"
