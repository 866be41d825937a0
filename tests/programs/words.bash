# What start scripts do with bash: arrays, expansions, pipes, subshells, here-documents, traps, children.
set -euo pipefail

declare -A count
while read -r word; do
    count[$word]=$((${count[$word]:-0} + 1))
done < <(for i in {1..400}; do echo "word$((i * i % 37))"; done)
for word in "${!count[@]}"; do echo "$word ${count[$word]}"; done | sort -k1,1

path=/usr/share/elasticsearch/bin/elasticsearch
echo "${path##*/} ${path%/*} ${path//e/E} ${#path}"
home=$(cd "$(dirname "$path/..")" 2>/dev/null && pwd || echo none)
echo "home=$home"

list=()
for i in {1..2000}; do list+=("item-$i"); done
echo "${#list[@]} ${list[1999]}"

text=$(cat <<END
$(printf '%05d\n' {1..300})
END
)
echo "${#text}"

trap 'echo "left with $?"' EXIT
(exit 3) || echo "child said $?"
sleep 0.05 &
wait "$!"
printf '%s\n' "${BASH_SUBSHELL}" "$(printf %x 48879)" "$((2 ** 40))"
echo done >&2
