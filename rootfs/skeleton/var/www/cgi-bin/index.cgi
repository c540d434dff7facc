#!/bin/sh
# The page of `httpd -h /var/www`: the site that serves it, as it is just now.
text() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }
rows() { text | awk -v columns="$1" -v skip="$2" 'NR > skip { print "<tr>"; for (i = 1; i < columns; i++) { printf "<td>%s</td>", $1; $1 = ""; $0 = $0 }
    sub(/^ */, ""); print "<td>" $0 "</td></tr>" }'; }
read -r up rest </proc/uptime
processes=$(ps -o pid,user,args | grep -v 'index\.cgi\|{ps}\|grep')
printf 'Content-Type: text/html; charset=utf-8\r\n\r\n'
cat <<PAGE
<!DOCTYPE html>
<html lang="en"><head><title>$(hostname)</title><style>
body { font: 15px/1.45 "DejaVu Sans", sans-serif; color: #223; background: #f2f4f7; margin: 2em auto; max-width: 56em }
h1 { font-size: 1.7em; margin: 0 } p { margin: .3em 0 1.2em; color: #567 }
section { background: #fff; border: 1px solid #d8dde5; border-radius: 8px; padding: 1em 1.4em; margin-bottom: 1em }
h2 { font-size: 1.05em; margin: 0 0 .6em; color: #24527a } table { border-collapse: collapse; width: 100% }
td { padding: .15em .9em .15em 0; border-top: 1px solid #eef1f5; font-family: "DejaVu Sans Mono", monospace; font-size: 13px }
.two { display: flex; gap: 1em } .two section { flex: 1 }
</style></head><body>
<h1>A page from inside Chorus</h1>
<p>Served by busybox httpd, an unmodified Linux program, on a microkernel that is an ordinary program itself.</p>
<section><h2>The site</h2><table>
<tr><td>system</td><td>$(uname -srvm | text)</td></tr>
<tr><td>up</td><td>$up s</td></tr>
<tr><td>processors</td><td>$(grep -c ^processor /proc/cpuinfo)</td></tr>
<tr><td>memory</td><td>$(awk '/^MemTotal/ { all = $2 } /^MemFree/ { free = $2 } END { printf "%.0f of %.0f MB free", free / 1024, all / 1024 }' /proc/meminfo)</td></tr>
<tr><td>this request</td><td>from $(echo "$REMOTE_ADDR" | tr -d '[]') to $(ip -4 -o addr show dev eth0 | awk '{ print $4 }'), by $(echo "$HTTP_USER_AGENT" | grep -o '[A-Za-z]*Chrom[a-z]*/[0-9]*\|Firefox/[0-9]*\|Wget\|curl/[0-9]*' | head -n 1)</td></tr>
</table></section>
<div class="two">
<section><h2>Actors</h2><table>$(aps 2>&1 | awk '{ print $1, $2, $4 " KB" }' | rows 3 1)</table></section>
<section><h2>Processes</h2><table>$(echo "$processes" | rows 3 1)</table></section>
</div></body></html>
PAGE
