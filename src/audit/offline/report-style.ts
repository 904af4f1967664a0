/** The report's style: one sheet in the page, whose hash the page's Content-Security-Policy names. */
export const reportStyle = `
:root{--ink:#1b2330;--soft:#5b6676;--line:#d9dee6;--paper:#fff;--shade:#f5f7fa;--good:#0b6b3a;--bad:#a4161a;--wait:#8a5a00;--accent:#1f4b99}
*{box-sizing:border-box}
body{margin:0;background:var(--shade);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
header,main,footer{max-width:70rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.5rem}
.kind{margin:0;color:var(--accent);font-weight:600;letter-spacing:.06em;text-transform:uppercase;font-size:.8rem}
h1{margin:.1rem 0 .6rem;font-size:1.9rem;line-height:1.2;overflow-wrap:anywhere}
h2{margin:0 0 1rem;font-size:1.25rem;overflow-wrap:anywhere}
h3{margin:1.6rem 0 .5rem;font-size:1.05rem}
h4{margin:0 0 .6rem;font-size:1rem;overflow-wrap:anywhere}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:1.4rem 1.5rem;margin:1.4rem 0}
.notice{border-left:4px solid var(--accent);background:#eef3fb;padding:.7rem 1rem;border-radius:0 8px 8px 0}
.note{white-space:pre-wrap}
.case{color:var(--soft);margin:0 0 .6rem}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:.7rem 1.5rem;margin:.8rem 0}
.facts div{min-width:0}
dt{color:var(--soft);font-size:.8rem}
dd{margin:0;overflow-wrap:anywhere}
code,pre{font:.86em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
code{overflow-wrap:anywhere}
pre{background:var(--shade);border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.45rem .6rem;border-bottom:1px solid var(--line);overflow-wrap:break-word}
td code{overflow-wrap:break-word}
th{color:var(--soft);font-weight:600;font-size:.8rem;white-space:nowrap}
td .facts-text{font-size:.78em;color:var(--soft);overflow-wrap:anywhere}
.badge{display:inline-block;padding:.05rem .55rem;border-radius:999px;font-size:.78rem;font-weight:600;border:1px solid currentColor;white-space:nowrap;color:var(--soft)}
.badge.allow{color:var(--good)}
.badge.deny{color:var(--bad)}
.badge.require_approval{color:var(--wait)}
.failure{color:var(--bad)}
.key{color:var(--soft);font-size:.85rem;margin:.2rem 0}
.approval{border:1px solid var(--line);border-radius:8px;padding:1rem 1.2rem;margin:.7rem 0}
details{margin:.9rem 0}
summary{cursor:pointer;font-weight:600}
.timeline{list-style:none;margin:.8rem 0;padding:0}
.timeline li{display:grid;grid-template-columns:13.5rem minmax(0,1fr);gap:1rem;padding:.55rem 0;border-top:1px solid var(--line)}
.timeline time{color:var(--soft);font-size:.85rem;font-variant-numeric:tabular-nums}
.timeline p{margin:.15rem 0;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.92rem}
footer{color:var(--soft);padding-bottom:3rem;font-size:.85rem}
@media (max-width:40rem){.timeline li{grid-template-columns:1fr;gap:.1rem}table.wide{display:block;overflow-x:auto}}
@media print{
@page{margin:16mm 14mm}
body{background:#fff;font-size:10.5pt}
header,main,footer{max-width:none;padding:0}
section{border:0;padding:0;margin:1.2rem 0}
section.run{break-before:page}
table{font-size:8pt}
th,td{padding:.25rem .4rem}
.facts-text{line-height:1.3}
tr,.approval,.timeline li{break-inside:avoid}
h2,h3,h4{break-after:avoid}
details::details-content{content-visibility:visible;display:block}
}
`;
