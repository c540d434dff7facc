# Ordinary use of a shell: what this prints must be the same, byte for byte, on the host and inside.
# No names of users, no times, no process numbers, no folders from outside may be printed.

echo "== files and folders"
mkdir -p a/b/c d
echo one >a/one; echo two >a/b/two; echo three >a/b/c/three
cp -r a e && mv e/one e/eins && ls -R a e
rm -r e/b && ls e; rmdir d && test ! -d d && echo d is gone
ln a/one hard && ln -s a/one soft && readlink soft && cat hard soft
stat -c '%n %h %s %F %a' a/one soft hard
: >empty; [ -s empty ] || echo empty is empty
touch -d '2020-02-03 04:05:06' old && date -r old '+%Y-%m-%d %H:%M:%S' && [ old -ot empty ] && echo older
find . -name 't*' | sort; find a -type d | sort | wc -l; find a -type f -exec basename {} \; | sort
du -a -k a | cut -f 2 | sort; cmp a/one hard && echo same; cmp a/one a/b/two

echo "== permissions"
umask; umask 027; touch masked; stat -c %a masked; umask 022
chmod 640 a/one; chmod u+x,g-r a/one; stat -c '%a %A' a/one
chmod 0 empty; cat empty 2>&1; test -r empty || echo not readable; rm -f empty
mkdir shut && touch shut/in && chmod 500 shut && { rm shut/in; touch shut/new; } 2>&1; chmod 700 shut
chmod 4755 hard; stat -c %A hard; [ -u hard ] && echo set-uid

echo "== pipes, redirections and descriptors"
seq 1000 | grep 7 | sort -rn | head -n 3
{ echo out; echo err >&2; } 2>&1 | sort; { echo lost >&2; } 2>/dev/null
exec 3>third; echo to three >&3; exec 3>&-; cat third; echo more >>third; wc -l <third
yes | head -n 100000 | tail -n 1; (echo sub; exit 3); echo status $?
echo data | tee copy1 copy2 >/dev/null; cat copy1 copy2
mkfifo pipe; cat pipe & echo through the pipe >pipe; wait; rm pipe
set -o noclobber; echo x 2>/dev/null >copy1 || echo not overwritten; set +o noclobber
false | true; echo $?; ! true; echo $?; ls nowhere 2>&1; echo status $?

echo "== here-documents and quoting"
name=world
cat <<END
hello $name, 1 + 2 is $((1 + 2)), nested $(echo "quoted $(echo twice)")
END
cat <<'END'
literal $name `date` \n
END
cat <<-END
	tabs are gone
	END
echo 'single "double"' "double 'single'" \$escaped "a  b" a  b
printf '%s|%5d|%-5s|%05.1f|%x|%c\n' text 42 left 3.14159 255 char; printf '%b' 'tab\there\n'

echo "== variables, arithmetic and tests"
unset missing; echo "${missing:-default} ${name:+set} ${#name}"; path=/usr/local/lib/file.tar.gz
echo "${path##*/} ${path%/*} ${path%%.*} ${path#/usr} ${path/local/other}"; ( : "${missing:?needed}" ) 2>/dev/null || echo caught
i=10; echo $((i * i % 7)) $((i << 3)) $((0x1f + 010)) $((i > 5 ? 1 : 0)); : $((i += 5)); echo $i
[ 3 -lt 10 ] && [ abc \< abd ] && [ -n x -a ! -z y ] && echo tests hold; [[ abc == a* ]] && echo pattern
set -- a 'b c' d; echo $# "$2"; for word in "$@"; do echo "<$word>"; done; shift 2; echo "$*"
IFS=:; set -- $(echo p:q:r); echo $# $3; unset IFS; read -r x y <<END
first rest of the line
END
echo "$y, $x"

echo "== loops, functions and cases"
for i in 1 2 3 4 5 6; do [ $i = 2 ] && continue; [ $i = 5 ] && break; echo loop $i; done
n=0; while [ $n -lt 3 ]; do n=$((n + 1)); echo while $n; done; until [ $n -eq 0 ]; do n=$((n - 1)); done; echo $n
fact() { [ "$1" -le 1 ] && echo 1 || echo $(($1 * $(fact $(($1 - 1))))); }; fact 12
scope() { local i=inner; echo $i; return 4; }; i=outer; scope; echo $? $i
for file in a.c b.h README; do case $file in *.c) echo source;; *.h) echo header;; [A-Z]*) echo capital;; esac; done
eval 'echo evaluated $((6 * 7))'; alias hi='echo alias'; eval hi; type cd >/dev/null && echo type

echo "== jobs and signals"
sleep 100 & kill $!; wait $! 2>/dev/null; echo killed $?
(trap 'echo trapped; exit 5' TERM; kill -TERM $(sh -c 'echo $PPID'); sleep 1); echo trap $?
sh -c 'kill -9 $$' 2>/dev/null; echo nine $?; trap 'echo usr1 came' USR1; kill -USR1 $$; trap - USR1
(sleep 0.1; echo later) & echo sooner; wait; sh -c 'trap "echo bye" EXIT; echo hi'
timeout 0.2 sleep 100; echo timeout $?; (exit 9) & wait $!; echo waited $?
for i in 1 2 3 4 5; do (exit $i) & done; wait; echo all gone; nohup echo nohup 2>/dev/null
seq 3 | while read -r line; do echo "read $line"; done; seq 20 | xargs -n 7 echo; seq 4 | xargs -I {} echo '<{}>'

echo "== text tools"
printf 'pear 3\napple 10\nfig 2\napple 1\n' >fruit; sort fruit; sort -k 2 -n fruit; sort -u -k 1,1 fruit
cut -d ' ' -f 1 fruit | uniq -c | sort -rn | tr -s ' '; sort fruit | uniq -d; tac fruit; rev fruit; nl fruit
awk '{ sum[$1] += $2 } END { for (k in sum) print k, sum[k] }' fruit | sort; awk 'BEGIN { printf "%.3f\n", 10 / 7 }'
sed -n '2,3p' fruit; sed 's/\(a\)pple/<\1>/g; /fig/d; $a end' fruit; echo hello | tr a-y b-z; grep -vn apple fruit
grep -c -E 'e.r|g' fruit; grep -o 'p*' fruit | sort | uniq -c | tr -s ' '; paste -d , fruit fruit | head -n 1; fold -w 4 fruit
printf 'a\nb\nc\n' >x; printf 'a\nB\nc\nd\n' >y; diff -u x y | sed 1,2d; diff x y >p; patch x <p >/dev/null && cmp x y && echo patched
head -c 5 fruit; echo; tail -n 1 fruit; wc fruit; od -c fruit | head -n 2; hexdump -C fruit | head -n 1; expand -t 4 p | head -n 2
echo 'b2JqZWN0' | base64 -d; echo; echo text | md5sum; echo text | sha256sum; expr 7 \* 6; echo '2^64; scale=5; 1/7' | bc
tr -d '\n' <fruit; echo; comm=$(printf '1\n2\n'); echo "$comm" | cat -e; strings fruit | head -n 1; seq -s + 5; factor 360

echo "== archives"
tar cf t.tar a fruit && tar tf t.tar | sort && mkdir u && tar xf t.tar -C u && diff -r a u/a && echo equal
for tool in gzip bzip2 lzop; do $tool -c <t.tar >t.z; $tool -dc <t.z | cmp - t.tar && echo $tool; done
find a | sort | cpio -o -H newc 2>/dev/null >t.cpio; mkdir v; (cd v && cpio -id <../t.cpio 2>/dev/null); diff -r a v/a && echo cpio
tar czf t.tgz fruit && gzip -t t.tgz && tar xzOf t.tgz fruit | head -n 1; gunzip -c t.tgz | tar tf -

echo "== big files"
dd if=/dev/zero of=big bs=1M count=40 2>/dev/null; ls -l big | tr -s ' ' | cut -d ' ' -f 5; md5sum <big
dd if=/dev/zero of=sparse bs=1 count=1 seek=3000000000 2>/dev/null; stat -c %s sparse; tail -c 3 sparse | od -An -b
seq 300000 >numbers; shuf numbers | sort -n | cmp - numbers && echo sorted; sha1sum numbers; head -n 99999 numbers >part1
tail -n +100000 numbers | cat part1 - | cmp - numbers && wc -lc part1 numbers; truncate -s 100 numbers; wc -c <numbers; rm big sparse numbers part*; sync; echo end
