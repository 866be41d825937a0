# A small history: commits with fixed dates, so that every hash is the same in every run; then packing.
set -euo pipefail

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME=$PWD
export GIT_AUTHOR_NAME=Tap GIT_AUTHOR_EMAIL=tap@example.org GIT_COMMITTER_NAME=Tap GIT_COMMITTER_EMAIL=tap@example.org

git init -q -b main .
for i in 1 2 3 4 5 6; do
    seq "$i" $((i * 400)) > "file$i"
    sed -i "s/^7$/seven $i/" file1
    export GIT_AUTHOR_DATE="@$((1700000000 + i)) +0000" GIT_COMMITTER_DATE="@$((1700000000 + i)) +0000"
    git add -A && git commit -q -m "Add file $i"
done
git log --format='%H %s'
git branch topic HEAD~3 && git checkout -q topic
echo topic > topic && git add topic && git commit -q -m Topic
git checkout -q main && git merge -q --no-edit topic
git diff --stat HEAD~2
git -c pack.threads=2 repack -a -d -q
git fsck --no-progress && git rev-list --count --all
git blame -s file1 | cut -c 1-8 | sort | uniq -c
git grep -c seven
