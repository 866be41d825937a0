# Sourced by scripts/check and scripts/test: runs parts, times them, and sums what passed, failed and was skipped.
# A part that prints totals of its own (cargo's "test result:" lines, our "N passed, N failed") counts as many;
# any other part counts as one. Tests that pass without doing everything say `skipped: why`, and count as skipped, too.
# A `flaky: …` line takes one failure back (scripts/lib/again.sh); it is counted by itself.

# A part's status is that of its command, not of the tee behind it.
set -o pipefail

PASSED=0
FAILED=0
SKIPPED=0
FLAKY=0
TALLY_LOG=$(mktemp)
trap 'rm -f "$TALLY_LOG"' EXIT

# part TITLE COMMAND…: never ends the script; the verdict is in the sums
part() {
    local title=$1 start=$SECONDS status=0
    shift
    echo "== $title"
    "$@" 2>&1 | tee "$TALLY_LOG" || status=$?
    add_counts "$status"
    echo "== $title: $([ "$status" = 0 ] && echo ok || echo "FAILED (status $status)"), $((SECONDS - start)) s"
}

# skip TITLE REASON
skip() {
    SKIPPED=$((SKIPPED + 1))
    echo "== $1: skipped, $2"
}

# add_counts STATUS: adds what the part's log says about itself
add_counts() {
    local passed failed skipped flaky
    read -r passed failed skipped flaky < <(awk '
        /^test result: / { gsub(/[;.]/, ""); for (i = 2; i <= NF; i++) count[$i] += $(i - 1) }
        /^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { gsub(/,/, ""); for (i = 2; i <= NF; i += 2) plain[$i] = $(i - 1) }
        /^skipped: / { said++ }
        /^flaky: / { flaky++ }
        END { print count["passed"] + plain["passed"], count["failed"] + plain["failed"] - flaky,
                    count["ignored"] + plain["skipped"] + said, flaky + 0 }' "$TALLY_LOG")
    if [ "$1" != 0 ] && [ "$failed" = 0 ]; then
        failed=1
    elif [ "$1" = 0 ] && [ $((passed + failed + skipped + flaky)) = 0 ]; then
        passed=1
    fi
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped)) FLAKY=$((FLAKY + flaky))
}

# close_tally: the closing line; fails when anything did
close_tally() {
    [ "$FLAKY" = 0 ] || echo "$FLAKY flaky: failed once, passed when run again (see above)"
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" = 0 ]
}
