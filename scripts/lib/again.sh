# Sourced by scripts/test: runs tests, and runs what failed again, alone.
# Tests with real processes, clocks and JVMs depend on the machine. A test that passes three times after it failed is called flaky:
# that is said aloud and counted, but does not fail the run. What shows harm to a host gets no second chance.

# The files whose tests show that a program came to harm.
HARM='--test (host|faults|ground)'

# failed_tests LOG: a line "TARGET<tab>NAME" for each test that failed, the target as cargo's option
failed_tests() {
    awk '
        / Running unittests src\/lib\.rs / { target = "--lib" }
        / Running unittests src\/main\.rs / { target = "--bin heaptap" }
        / Running tests\/[a-z_]+\.rs / { target = $2; sub(/^tests\//, "--test ", target); sub(/\.rs$/, "", target) }
        /^test .* \.\.\. FAILED$/ { print target "\t" $2 }' "$1"
}

# all_are_named LOG FAILED: whether the list FAILED accounts for each failure of the log. A test program that ended
# amid its tests gives no result; cargo counts its target alone.
all_are_named() {
    local results targets
    results=$(awk '/^test result: / { gsub(/[;.]/, ""); for (i = 2; i <= NF; i++) if ($i == "failed") sum += $(i - 1) }
        END { print sum + 0 }' "$1")
    targets=$(awk '/^error: [0-9]+ targets? failed:/ { print $2 }' "$1")
    [ "$results" = "$(wc -l < "$2")" ] && [ "${targets:-0}" = "$(cut -f 1 "$2" | sort -u | wc -l)" ]
}

# passes_alone TARGET NAME: three times, one after another; its words are shown where it fails
passes_alone() {
    local words round
    words=$(mktemp)
    for round in 1 2 3; do
        # shellcheck disable=SC2086 # a target is an option and its word
        if ! cargo test --quiet $1 -- --exact "$2" --include-ignored > "$words" 2>&1; then
            echo "again, alone, time $round: $2 fails"
            # Results of another try must not be summed.
            sed 's/^/    /' "$words"
            rm -f "$words"
            return 1
        fi
    done
    rm -f "$words"
}

# tests_and_again COMMAND…: runs it, then what failed again; fails unless all that failed was flaky
tests_and_again() {
    local log failed status=0
    log=$(mktemp) failed=$(mktemp)
    "$@" 2>&1 | tee "$log" || status=$?
    failed_tests "$log" > "$failed"
    if [ $status != 0 ] && all_are_named "$log" "$failed"; then
        status=0
        local target name
        while IFS=$'\t' read -r target name; do
            if [[ ! $target =~ ^$HARM$ ]] && passes_alone "$target" "$name" < /dev/null; then
                echo "flaky: $target $name failed once and passed three times alone"
            else
                status=1
            fi
        done < "$failed"
    fi
    rm -f "$log" "$failed"
    return $status
}
