# tools/cmocka.sh - the tests' library, for systems for which Debian does not build it
#
# Sourced by tools/cross and tools/windows.
# shellcheck shell=sh

# cmocka_get DIRECTORY: the source package, from where the machine has its packages, by an apt that has a
# list of its own: so it needs no right to change the machine's, and the signatures are looked at all
# the same.
cmocka_get() {
    directory=$1
    if [ -f "$directory/src/cmocka.c" ]; then return 0; fi
    rm -rf "$directory"
    mkdir -p "$directory/apt/lists/partial" "$directory/apt/cache/archives/partial" \
        "$directory/apt/parts"
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n 's/^deb /deb-src /p' >"$directory/apt/sources.list"
    for list in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$list" ] || sed 's/^Types:.*/Types: deb-src/' "$list" \
            >"$directory/apt/parts/${list##*/}"
    done
    (
        cd "$directory/apt"
        set -- -q -o "Dir::Etc::SourceList=$PWD/sources.list" -o "Dir::Etc::SourceParts=$PWD/parts" \
            -o "Dir::State::Lists=$PWD/lists" -o "Dir::Cache=$PWD/cache" \
            -o APT::Sandbox::User=
        apt-get "$@" update
        apt-get "$@" source --download-only cmocka
    ) >"$directory/apt.log" 2>&1 || {
        cat "$directory/apt.log" >&2
        return 1
    }
    tar -xf "$directory"/apt/cmocka_*.orig.tar.xz -C "$directory" --strip-components=1
    rm -rf "$directory/apt"
}

# cmocka_compile SOURCE PREFIX AR COMPILER...: a static library, and what pkg-config has to know of it
cmocka_compile() {
    source=$1
    prefix=$2
    archiver=$3
    shift 3
    if [ -f "$prefix/lib/pkgconfig/cmocka.pc" ]; then return 0; fi
    mkdir -p "$prefix/include" "$prefix/lib/pkgconfig"
    cp "$source/include"/cmocka*.h "$prefix/include"
    "$@" -std=gnu99 -O1 -w -DHAVE_INTTYPES_H=1 -DHAVE_SIGNAL_H=1 -DHAVE_STRINGS_H=1 \
        -DHAVE_STRUCT_TIMESPEC=1 -DHAVE_CLOCK_GETTIME=1 -I"$prefix/include" \
        -c "$source/src/cmocka.c" -o "$prefix/lib/cmocka.o"
    # Words are meant: "zig ar".
    # shellcheck disable=SC2086
    $archiver rcs "$prefix/lib/libcmocka.a" "$prefix/lib/cmocka.o"
    {
        echo "Name: cmocka"
        echo "Description: as Debian has it"
        echo "Version: $(sed -n 's/^project(cmocka VERSION \([0-9.]*\).*/\1/p' \
            "$source/CMakeLists.txt")"
        echo "Cflags: -isystem $prefix/include"
        echo "Libs: $prefix/lib/libcmocka.a"
    } >"$prefix/lib/pkgconfig/cmocka.pc"
}
