# tools/steps.sh - one thing after the other, each with its time, its log and its verdict
#
# Sourced by test/run and .ci/run, which set logs (a directory) before. What a step prints goes to
# $logs/NAME.log; its end is shown if the step fails. With live=yes a suite's is shown as it comes.
# A failed step is counted and remembered, and the next one follows. What is given as a command
# should be one: "set -e" has no effect within a shell function that is called here.
# shellcheck shell=sh

passed_count=0
failed_count=0
skipped_count=0
steps_began=$(date +%s)
mkdir -p "$logs"

# step_time BEGAN: how long ago that was
step_time() {
    seconds=$(($(date +%s) - $1))
    printf '%d:%02d' $((seconds / 60)) $((seconds % 60))
}

# step_told VERDICT NAME BEGAN [COUNTS]
step_told() {
    printf '%-6s %-36s %6s  %s\n' "$1" "$2" "$(step_time "$3")" "${4-}"
}

step_show_log() {
    tail -n 40 "$logs/$1.log" | sed 's/^/       | /'
    echo "       the whole of it: $logs/$1.log"
}

# check NAME COMMAND...: counts as one test, which passes if the command succeeds
check() {
    name=$1
    shift
    began=$(date +%s)
    if "$@" >"$logs/$name.log" 2>&1 </dev/null; then
        passed_count=$((passed_count + 1))
        step_told ok "$name" "$began"
    else
        failed_count=$((failed_count + 1))
        step_told FAILED "$name" "$began"
        step_show_log "$name"
    fi
}

# must NAME COMMAND...: no test, but without it there is no point in going on
must() {
    failed_before=$failed_count
    check "$@"
    if [ "$failed_count" != "$failed_before" ]; then finish_steps; fi
    passed_count=$((passed_count - 1))
}

# suite NAME COMMAND...: many tests; the last line of what it prints counts them
suite() {
    name=$1
    shift
    began=$(date +%s)
    if [ "${live-no}" = yes ]; then
        { "$@" 2>&1 </dev/null && status=0 || status=$?; echo "$status" >"$logs/$name.status"; } |
            tee "$logs/$name.log"
        status=$(cat "$logs/$name.status")
        rm -f "$logs/$name.status"
    else
        "$@" >"$logs/$name.log" 2>&1 </dev/null && status=0 || status=$?
    fi
    counts=$(tail -n 1 "$logs/$name.log" |
        sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p')
    # A suite that ends without a count, or badly without a failed test, has failed.
    # shellcheck disable=SC2086
    set -- ${counts:-0 1 0}
    if [ "$status" != 0 ] && [ "$2" = 0 ]; then set -- "$1" 1 "$3"; fi
    passed_count=$((passed_count + $1))
    failed_count=$((failed_count + $2))
    skipped_count=$((skipped_count + $3))
    if [ "$2" = 0 ]; then
        step_told ok "$name" "$began" "$1 passed, $2 failed, $3 skipped"
    else
        step_told FAILED "$name" "$began" "$1 passed, $2 failed, $3 skipped"
        if [ "${live-no}" != yes ]; then step_show_log "$name"; fi
    fi
}

# The last line, and the end.
finish_steps() {
    echo "all of it took $(step_time "$steps_began")"
    echo "$passed_count passed, $failed_count failed, $skipped_count skipped"
    if [ "$failed_count" != 0 ]; then exit 1; fi
    exit 0
}
