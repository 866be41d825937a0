# A walk through the coreutils, threads (sort), large buffers (tac, split) and many short processes.
set -eu

seq 1 30000 > numbers
sort --parallel=4 -S 1M -n -r numbers | head -n 3
sort -R --random-source=numbers numbers | sort -n | cmp - numbers && echo sorted
tac numbers | tail -n 2
wc -l -c numbers
cut -c 1-2 numbers | uniq -c | sort -rn -k1,1 -k2,2 | head -n 5
paste -d, <(seq 1 5) <(seq 6 10) | tr , ' '
join <(seq 1 20 | sort) <(seq 5 3 30 | sort) | wc -l
comm -12 <(seq 10 30) <(seq 20 40) | head -n 2
sha256sum numbers | cut -d' ' -f1
base64 -w 60 numbers | base64 -d | cksum
split -l 7000 numbers part. && ls part.* && rm part.*
shuf --random-source=numbers -n 4 numbers
factor 1234567891011 && expr 6 \* 7
date -u -d @86400 +%FT%T
mkdir -p a/b/c && touch a/b/c/file && ln -s c a/b/link && readlink a/b/link
cp -r a d && find d | sort && rm -r a d
dirname /x/y/z && basename /x/y/z.tar .tar && uname -s && env -i A=1 env
printf '%s\n' one two three | nl | fold -w 12 | od -c | head -n 3
numfmt --to=iec 1073741824 && stat -c %s numbers && df . > /dev/null && id -u > /dev/null
timeout 100 sleep 0.01 && echo in-time
ls does-not-exist 2>/dev/null || echo "ls said $?"
