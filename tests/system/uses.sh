# More uses of a shell, one line each: what is there and no line of script.sh has. Must print the same on the host and inside.
# No names of users, no times of now, no process numbers, no folders from outside may be printed.

echo "== dd and sizes"; mkdir 03dd; cd 03dd
for bs in 7 512 4095 4096 4097 65536 1000003; do n=$((30000 / bs + 1)); dd if=/dev/zero of=f bs=$bs count=$n 2>/dev/null; wc -c <f; dd if=f of=g bs=$bs 2>/dev/null; cmp f g; done
seq 100000 >s; dd if=s of=t bs=1000 skip=5 seek=3 count=7; md5sum t; dd if=s bs=10 count=2; dd if=s of=t conv=notrunc bs=5 seek=100000 count=1; wc -c t; tail -c 10 t | od -c
dd if=s bs=100 count=3 2>/dev/null | dd of=u obs=7 2>/dev/null; cat u | md5sum; dd if=/dev/full of=v count=1 2>/dev/null; wc -c v; dd if=s of=/dev/full count=1 2>&1 | grep -v 'copied'; dd if=s iflag=skip_bytes,count_bytes skip=3 count=5 bs=4096 2>/dev/null
dd if=s ibs=9 obs=11 conv=sync,swab count=3 2>/dev/null | od -c; dd if=nowhere; echo $?; dd of=/nowhere/x </dev/null; echo $?; dd if=/dev/zero bs=1M count=3 2>/dev/null | wc -c; dd if=/tmp; echo $?; dd bs=0 if=s; echo $?; dd if=s of=/tmp; echo $?
printf abc | dd of=app oflag=append conv=notrunc 2>/dev/null; printf def | dd of=app oflag=append conv=notrunc 2>/dev/null; cat app; echo; dd if=s of=sp bs=1 count=1 seek=20000000 2>/dev/null; wc -c sp; ls -lh sp | awk '{print $5}'; od -A d -j 19999998 sp; truncate -s 0 sp; wc -c sp
dd if=s of=sk bs=1k count=3 2>&1 | sed 's/[0-9.]* seconds.*//'; cat s s s s >c4; wc c4; head -c -5 s | tail -c 5
(sleep 0.3; echo late) | dd bs=100 count=1 2>/dev/null; yes | dd bs=1000 count=1000 2>/dev/null | tail -c 3; dd if=s of=s2 status=none; cmp s s2; dd if=/dev/urandom bs=1000 count=5 2>/dev/null | wc -c; shred -u s2; ls s2
fallocate -l 1000000 fa; wc -c fa; truncate -s -500 fa; wc -c fa; truncate -s +3 fa; wc -c fa; truncate -s 20T fa; echo $?; rm fa; mkdir dd; echo x > dd; echo $?; cat dd; echo $?
cd ..; chmod -R u+rwX 03dd

echo "== sorting and the like"; mkdir 04sort; cd 04sort
awk 'BEGIN{srand(3); x=12345; for(i=0;i<20000;i++){x=(x*1103515245+12345)%2147483648; print x, i%97, "key" x%1000}}' >big; wc big; sort big | md5sum; sort -n big | md5sum; sort -k2n -k1nr big | md5sum; sort -k3,3 -s big | md5sum; sort -u -k2,2n big | wc -l
sort -R big | wc -l; sort -r big | tail -1; sort -c big; echo $?; sort -n big -o big; sort -c -n big; echo $?; sort -m big big | wc -l; sort -t' ' -k3.4n big | head -3; sort -z </dev/null; printf '1.5\n1e3\n-2\n' | sort -g; printf '10K\n2M\n3\n' | sort -h; printf 'Feb\nJan\nDec\n' | sort -M; printf 'v1.10\nv1.9\n' | sort -V
awk '{s+=$1; c[$2]++} END {print s, length(c); for(k in c) if (c[k]>m) m=c[k]; print m}' big; grep -c 'key5..$' big; sed -n '10000,10003p' big; cut -d' ' -f3 big | sort | uniq -c | sort -rn | head -3; tac big | head -2; nl big | tail -1; comm -12 big big | wc -l; paste big big | wc -c; tr a-z A-Z <big | md5sum; rev big | md5sum; fold -w 7 big | md5sum; wc -L big; uniq -f1 big | wc -l; tsort <<X
a b
b c
X
sed -i 's/key/KEY/' big; grep -c KEY big; sed -i.bak '1,10d' big; wc -l big big.bak; sed -i -e '/KEY1$/d' -e 's/^/>/' big; md5sum big; ls -l big* | awk '{print $1,$5,$9}'; sed -i s/x/y/ nowhere; echo $?; chmod 400 big; sed -i s/KEY/k/ big; stat -c %a big; sed -n '$=' big; awk -F' ' -v OFS=: 'NR%5000==0{$1=$1; print}' big; awk '{print > ("out" NR%3)}' big.bak; wc -l out*; awk 'BEGIN{while((getline l < "out0")>0) n++; print n; "date -u -d @0" | getline d; print d; system("echo sys; exit 3"); print "x" | "cat; exit 4"; print close("cat; exit 4")}'
xargs -n 1000 <big echo | wc -l; xargs -P 4 -n 4000 <big.bak sh -c 'echo $#' | sort; seq 10 | xargs -n 3 -t echo 2>&1; echo 'a "b c" d\ e' | xargs -n1; printf 'a\0b\0' | xargs -0 -r echo; xargs -r echo </dev/null; echo x | xargs sh -c 'exit 255'; echo $?; echo x | xargs nocmd; echo $?; xargs -a big -n 200000 echo 2>&1 | wc -w
cd ..; chmod -R u+rwX 04sort

echo "== comparing and packing"; mkdir 08diff; cd 08diff
seq 100 >a; sed '5d;20s/$/x/;$a new' a >b; diff a b; diff -u a b | sed 1,2d >p; diff -u a b | tail -n +3; cp a c; (echo '--- c'; echo '+++ c'; cat p) | patch; cmp b c && echo patched; (echo '--- c'; echo '+++ c'; cat p) | patch -R; cmp a c; patch -p1 -d . <<X
--- x/c
+++ x/c
@@ -1,3 +1,3 @@
 1
-2
+two
 3
X
head -3 c; diff -q a c; diff -y a b 2>&1 | head -1; mkdir x y; cp a x; cp b y/a; touch x/only; diff -r x y | head; diff -rq x y; diff -B a b >/dev/null; echo $?; diff -i a a; diff nowhere a; echo $?; diff - a <b | head -3; cmp a b; cmp -s a b; echo $?; cmp a; comm a b 2>/dev/null | head -3; patch <bad 2>&1; ed -s a <<X
2d
1,3p
\$r b
w ed.out
q
X
wc ed.out; md5sum a b c | md5sum -c; echo 'x  a' | md5sum -c; echo $?; sha512sum a | cut -c1-20; cksum a; sum a; crc32 a; uuencode a a | head -2; uuencode a q | uudecode -o r; cmp a r; base32 a 2>/dev/null| head -1; hd a | head -2; xxd a | tail -1; strings a | head -2; factor 1234567 ; expr 10 / 3; seq -w 8 11; shuf -i 1-5 -n 5 | sort; printf '%q\n' 2>&1 'a b'; printf '%08.3f|%-10s|%+d|%e|%o\n' 3.14159 ab 5 1234.5 8; date -d '2024-03-10 10:00' +%s; TZ=EST5EDT date -d @1700000000; TZ=CET-1CEST,M3.5.0,M10.5.0/3 date -d @1720000000; cal 9 1752; basename a.c .c; true; usleep 1000; sleep 0.01; env -i /bin/env; true && false || echo or
gzip -c a | wc -c; gzip a; ls a*; zcat a.gz | tail -1; gunzip a.gz; bzip2 -9k a; bunzip2 -c a.bz2 | cmp - a; lzop a; unlzop -c a.lzo | cmp - a; xz -k a 2>&1 | head -1; unzip -l nowhere 2>&1; echo $?; ar t nowhere 2>&1; rpm2cpio nowhere 2>&1; gzip -t b; echo $?; gzip -dc <b; echo $?; zcat nowhere; echo $?; gzip -1 <b | gzip -d | cmp - b && echo gz; gzip -k b; gzip -k b </dev/null; echo $?; gunzip -t b.gz; head -c 50 b.gz >t.gz; gunzip -c t.gz; echo $?
cd ..; chmod -R u+rwX 08diff

echo "== files and folders"; mkdir 09fs; cd 09fs
mkdir -p big; cd big; for i in $(seq 500); do echo $i >f$i; done; ls | wc -l; ls | sort -V | tail -1; cat f* | awk '{s+=$1} END {print s}'; rm f1*; ls | wc -l; find . -type f | wc -l; mv f2 g2; ls g*; for i in $(seq 200 300); do mv f$i h$i; done; ls | wc -l; cd ..; rm -rf big; ls -d big; 
top=$PWD; mkdir deep; cd deep; for i in $(seq 1 120); do mkdir dddddddddddddddddddddddddddddd; cd dddddddddddddddddddddddddddddd; done; echo x >f; cat f; touch ../g; cd $top; find deep | wc -l; rm -rf deep; ls -d deep
n=$(printf 'a%.0s' $(seq 255)); echo l >$n; cat $n; mv $n b$n; echo $?; echo x >a$n; echo $?; rm $n; ln -s loop1 loop2; ln -s loop2 loop1; cat loop1; echo $?; ls -l loop1 | awk '{print $NF}'; mkdir -p x/y; mv x x/y; echo $?; mv x/y/../../x z; ls; rmdir z; echo $?; rmdir z/y z; mkdir a a; echo $?; mkdir a/b/c; echo $?; rmdir .; echo $?; touch a/b; mkdir a/b; mv a/b a; echo $?; ln a aa; echo $?; ln -s; cp a x; echo $?; cp -r a a/c; echo $?; rm a; echo $?; cat <a; echo $?; : >a; echo $?
exec 3>del; echo one >&3; rm del; echo two >&3; cat /proc/self/fd/3 2>&1; readlink /proc/self/fd/3; exec 4</proc/self/fd/3; cat <&4; exec 3>&- 4<&-; echo abc >t; exec 5<>t; read -u 5 l 2>/dev/null; echo def >&5; exec 5>&-; cat t; echo 123 >>t; { echo x; exec 6<t; head -c 2 <&6; head -c 3 <&6; cat <&6; exec 6<&-; }; (flock 9; echo locked; flock -n t -c 'echo inner' || echo busy; ) 9>t.lock; flock t.lock -c 'flock -n t.lock true; echo $?'; for i in 1 2 3 4; do (for j in $(seq 200); do echo "line $i $j"; done >>app) & done; wait; wc -l app; sort -u app | wc -l; awk 'NF!=3' app | wc -l
yes | head -n 1 >/dev/null; echo ${PIPESTATUS-none}; (yes; echo "y $?" >&2) 2>&1 | head -n 1 | cat; (trap '' PIPE; yes 2>&1; echo "y $?" >&2) 2>&1 | head -n 1; seq 100000 | head -n 3; cat /dev/zero | head -c 1000000 | wc -c; dd if=/dev/zero bs=100000 count=100 2>/dev/null | (sleep 0.2; wc -c); mkfifo ff; (for i in 1 2 3; do echo $i; sleep 0.05; done >ff) & cat <ff; wait; ls -la /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty | awk '{print $1,$3,$4,$5,$6,$10}'; echo x >/dev/full; echo $?; head -c 3 /dev/zero | od -c; cat /dev/null; head -c 100 /dev/random | wc -c; echo x >/dev/tty; echo $?; : </dev/tty; echo $?; cat </dev/full | head -c 3 | od -c; dd if=/dev/urandom of=/dev/null bs=1M count=2 2>&1 | head -2; ls /dev/fd/ | head -3; ls -l /dev/stdin /dev/stdout | awk '{print $NF}'; echo via >/dev/stdout; echo err >/dev/stderr; cat /dev/stdin </etc/hostname; test -t 0; echo $?; test -c /dev/null; echo $?
cd ..; chmod -R u+rwX 09fs

echo "== times"; mkdir 11time; cd 11time
touch -d '1999-12-31 23:59:59' ./t; stat -c '%y %Y' ./t; touch -r ./t ./u; stat -c %Y ./u; touch -t 202001020304.05 ./t; date -r ./t; touch -d @0 ./t; ls -l --full-time ./t 2>/dev/null| awk '{print $6,$7}'; touch -d '2100-01-01' ./t; stat -c %Y ./t; touch -d '1901-01-01' ./t; stat -c %Y ./t; touch -d @-1 ./t; stat -c %Y ./t; touch -d '2500-01-01' ./t; stat -c %Y ./t; touch -c ./nonex; ls ./nonex; touch -a -d @5 ./t; stat -c '%X' ./t; touch -m -d @6 ./t; stat -c '%X %Y' ./t; cp -p ./t ./t2; stat -c '%Y' ./t2; mv ./t2 ./t3; stat -c %Y ./t3; echo x >./n; a=$(stat -c %Y ./n); b=$(date +%s); [ $((b-a)) -le 1 ] && echo now; mkdir ./dd; touch -d @7 ./dd; touch ./dd/f; [ $(stat -c %Y ./dd) -gt 1000 ] && echo dirtime; touch -d @7 ./dd; rm ./dd/f;  [ $(stat -c %Y ./dd) -gt 1000 ] && echo dirtime2; touch -d @7 ./n; cat ./n >/dev/null; stat -c %Y ./n; chmod 600 ./n; stat -c %Y ./n; : >>./n; stat -c %Y ./n; echo >>./n; [ $(stat -c %Y ./n) -gt 1000 ] && echo wr; touch -d @7 ./n; : >./n; [ $(stat -c %Y ./n) -gt 1000 ] && echo trunc; touch -d @8 ./n; truncate -s 0 ./n; [ $(stat -c %Y ./n) -gt 1000 ] && echo trunc0; touch -d @8 ./n; truncate -s 9 ./n; [ $(stat -c %Y ./n) -gt 1000 ] && echo trunc9; z=$(stat -c %Z ./n); sleep 1.1; chmod 644 ./n; [ $(stat -c %Z ./n) -gt $z ] && echo ctime; z=$(stat -c %Z ./n); sleep 1.1; ln ./n ./n2;  [ $(stat -c %Z ./n) -gt $z ] && echo ctimeln; touch -h -d @3 ./n; 
s=$(date +%s%N | cut -c1-13); sleep 0.3; e=$(cut -d. -f1 /proc/uptime); [ $e -lt 100000000 ] && echo up; time -p sleep 0.2 2>&1 | head -1 | cut -c1-8; t=$(date +%s); timeout 1 sleep 10; [ $(( $(date +%s) - t )) -le 2 ] && echo quick; sh -c 'times' | wc -l; cal 2 2024 | tail -3; date -d '2024-02-30' 2>&1; date -u -d '1970-01-01 00:00:00' +%s; date +%N | wc -c; LC_ALL=C date -d @1234567890 -R -u; usleep 100; nice date -u -d @1 +%c; watch -n 1 -t true 2>&1 | head -0; sleep 0; sleep abc; echo $?; sleep 1m & kill $!; wait $! 2>/dev/null; echo $?; timeout -k 1 0.1 sleep 5; echo $?; timeout 0.1 sh -c 'sleep 5 & wait'; echo $?
cd ..; chmod -R u+rwX 11time
