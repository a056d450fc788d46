#!/usr/bin/env bash
# A voice as a job: recordings in, a released voice out, or a red job that says which gate failed.
#
#   VOICE        its name                                    RECORDINGS   file, folder or glob
#   TO           a node, or a store: s3://…, hf://…, a directory
#   OUT          where the job works and leaves its report; a job that was killed goes on there
#   BASE RECIPE  orpheus-3b and clone-30min.yaml, if they are left out
#   CONSENT      the speaker's consent, a file               CANARY       as 10%; else everybody.
#                                                            A first release has no other voice to
#                                                            share with: none, or 0% to promote it
#   BY           who released it, for the log
#
# Arguments go to `clone`, as --set train.epochs=4. Keys come from the environment and are never
# printed: ORPHEUS_CLONE_KEY for a node, HF_TOKEN, AWS_…, AZURE_…, GOOGLE_… for stores. What can be
# said without a voice is said at once: that TO does not answer, the key is wrong, the canary cannot
# be. Exit codes are orpheus-clone's: 1 is a gate that failed, and then nothing is published.
set -euo pipefail

: "${VOICE:?the voice\'s name}" "${RECORDINGS:?where the recordings are}"
: "${TO:?where to publish}" "${OUT:?where to work}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A secret that a workflow does not have comes as an empty variable.
for name in "${!AWS_@}" "${!AZURE_@}" "${!GOOGLE_@}"; do
  [[ -n ${!name} ]] || unset "$name"
done

exec orpheus-clone clone "$RECORDINGS" --voice "$VOICE" --out "$OUT" --base "${BASE:-orpheus-3b}" \
  --recipe "${RECIPE:-$here/clone-30min.yaml}" ${CONSENT:+--consent "$CONSENT"} \
  --publish-to "$TO" --by "${BY:-ci}" ${CANARY:+--canary "$CANARY"} --json "$@"
