/** The one stylesheet of the sign-in pages: system fonts, no assets, light and dark, from 320 pixels up. */
export const style = `
:root{color-scheme:light dark;--ground:#f3f5f7;--card:#fff;--ink:#17212b;--soft:#51606f;--line:#c5ced8;--field:#7b8896;--accent:#0b5cad;--on-accent:#fff;--bad:#a3161f;--bad-ground:#fdecec}
@media(prefers-color-scheme:dark){:root{--ground:#10161c;--card:#1a222b;--ink:#e9eef3;--soft:#a9b6c3;--line:#35424f;--field:#7f8d9b;--accent:#7cbcff;--on-accent:#06213d;--bad:#ffb4b4;--bad-ground:#3b1b1e}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;background:var(--ground);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;padding:1.5rem 1rem 3rem}
header,main{max-width:30rem;margin:0 auto}
header p{margin:0 0 1rem;font-weight:600;letter-spacing:.02em;color:var(--soft)}
main{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.75rem 1.5rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}
h2{font-size:1rem;margin:1.5rem 0 .25rem}
p{margin:0 0 1rem}
label{display:block;font-weight:600;margin:1rem 0 .25rem}
input:not([type=checkbox]):not([type=hidden]){width:100%;font:inherit;color:inherit;background:transparent;border:1px solid var(--field);border-radius:.5rem;padding:.65rem .75rem;min-height:2.75rem}
input.code{letter-spacing:.2em;max-width:11rem;display:block}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.buttons{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1.75rem}
.buttons .problem{order:-1;flex-basis:100%;margin:0}
button{font:inherit;font-weight:600;min-height:2.75rem;padding:.5rem 1.5rem;border-radius:.5rem;border:1px solid var(--accent);background:var(--accent);color:var(--on-accent);cursor:pointer;flex:1 1 auto}
button.quiet{background:transparent;color:var(--accent)}
.problem{background:var(--bad-ground);color:var(--bad);border-left:4px solid var(--bad);border-radius:.25rem;padding:.75rem 1rem}
fieldset{border:0;padding:0;margin:1rem 0 0}
legend{font-weight:600;padding:0}
.choice{display:flex;gap:.75rem;align-items:flex-start;font-weight:400;margin:0;padding:.75rem 0;border-bottom:1px solid var(--line)}
.choice input{width:1.25rem;height:1.25rem;margin:.15rem 0 0;flex:none;accent-color:var(--accent)}
.choice strong,li strong{font-weight:500;display:block}
small,code{display:block;color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
p code{display:inline}
input+small{margin-top:.35rem}
ul{margin:.25rem 0 0;padding-left:1.25rem}
li{margin:.5rem 0}
.reference{color:var(--soft);font-size:.85rem;margin:1.25rem 0 0}
a{color:var(--accent)}
[hidden]{display:none!important}
.qr{display:block;max-width:100%;height:auto;margin:0 0 1rem;border-radius:.5rem}
.codes{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:.5rem 1rem;list-style:none;padding:0}
.codes li{margin:0}
.codes code,p .secret{display:block;font:1rem/1.5 ui-monospace,monospace;color:var(--ink)}
dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:0 0 1rem}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
summary{cursor:pointer;color:var(--accent);padding:.5rem 0}
.choice:has(+details){border-bottom:0;padding-bottom:0}
.choice+details{border-bottom:1px solid var(--line);padding:0 0 .75rem 2rem}
details .choice{border:0;padding:.4rem 0}
details fieldset{margin:.25rem 0 0}
details legend{font-weight:400;color:var(--soft);font-size:.85rem}
.results{margin:0 0 1.5rem}
button.result{display:block;width:100%;text-align:left;font-weight:400;background:transparent;color:var(--ink);margin:0 0 .5rem;border-color:var(--field)}
button.result strong{display:block}
ul.apps{list-style:none;padding:0}
ul.apps form,ul.apps+form,.buttons+details{margin-top:.75rem}
p:has(>small){margin-top:.75rem}
.links a{margin-right:1rem;white-space:nowrap}
ul.apps details ul{list-style:disc}
ul.apps>li{border-bottom:1px solid var(--line);padding:0 0 1.25rem;margin:0}
ul.apps>li:last-child{border-bottom:0;padding-bottom:.25rem}
`;
