<%!
    def count(number, one, more):
        return f"{number:,} {one if number == 1 else more}"
%>\
<%
    choice, judgements = report.choice, report.judgements
    rows = [
        ("Answered", lambda side: f"{side.answered} of {side.answers}"),
        ("Refused", lambda side: side.refused),
        ("Failed", lambda side: side.failed),
        ("Cut off at the limit", lambda side: side.cut_off),
        ("Cost", cost),
        ("Tokens in, out", lambda side: f"{side.prompt_tokens:,}, {side.completion_tokens:,}"),
        ("First text, median", lambda side: seconds(side.first_text_ms)),
        ("Whole answer, median", lambda side: seconds(side.whole_ms)),
        ("Whole answer, 95 % within", lambda side: seconds(side.slowest_whole_ms)),
        ("Length, median", lambda side: "unknown" if side.chars is None else f"{side.chars:,} characters"),
        ("Models", lambda side: ", ".join(side.models) or "unknown"),
    ]
%>\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Rehearsal of ${choice.model}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --new: #1a7f37; --old: #9a6700; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 80rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; max-width: 70ch; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .25rem 1.5rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th { white-space: nowrap; }
td { font-variant-numeric: tabular-nums; }
.bar { display: flex; height: .75rem; max-width: 40rem; margin: .75rem 0; border-radius: .4rem; overflow: hidden; background: var(--line); }
.bar .new { background: var(--new); } .bar .old { background: var(--old); }
.filter { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .5rem 0 1rem; }
article { border: 1px solid var(--line); border-radius: .5rem; margin: 0 0 1rem; overflow: hidden; }
article > header { padding: .5rem .75rem; background: var(--soft); }
.about { font-size: .85rem; opacity: .8; overflow-wrap: anywhere; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.sides { display: grid; grid-template-columns: 1fr 1fr; }
.sides > section { padding: .75rem; min-width: 0; border-top: 1px solid var(--line); }
.sides > section + section { border-left: 1px solid var(--line); }
.sides h3 { font-size: .85rem; margin: 0 0 .25rem; }
.won h3::after { content: " · preferred"; color: var(--new); }
.failed .text { opacity: .7; font-style: italic; }
% for name in ("new", "old", "tie", "order", "unclear"):
body:has(#only-${name}:checked) article:not(.${name}),
% endfor
body:has(#only-failed:checked) article:not(.trouble) { display: none; }
@media (max-width: 45rem) { .sides { grid-template-columns: 1fr; } .sides > section + section { border-left: 0; } }
@media print { .filter { display: none; } }
</style>
</head>
<body>
<h1>Rehearsal of ${choice.model}</h1>
<p class="about">${choice.address}; begun ${choice.began_at}, reported ${report.made_at}. ${report.ended}</p>
<p>${count(len(report.entries), "real question", "real questions")} asked again. Follow-up questions keep the old answers before them.
${report.complete} of the requests are complete; the others may lack what is older than the log, or a summary.</p>
% if report.left_out:
<p>Left out: ${", ".join(f"{number} ({why})" for why, number in report.left_out.items())}.</p>
% endif
<h2>Figures</h2>
<table>
<tr><th></th><th>old</th><th>new</th></tr>
% for name, figure in rows:
<tr><th>${name}</th><td>${figure(report.old)}</td><td>${figure(report.new)}</td></tr>
% endfor
</table>
% if judgements is not None:
<h2>Blind judgement by ${choice.judge}</h2>
<div class="bar" role="img" aria-label="new ${judgements.new}, old ${judgements.old}">
<div class="new" style="flex:${judgements.new}"></div>
<div style="flex:${judgements.tie + judgements.order + judgements.unclear}"></div>
<div class="old" style="flex:${judgements.old}"></div>
</div>
<p>New is better in ${judgements.new}, old in ${judgements.old}, equally good in ${judgements.tie}. The preference depended on the order in ${judgements.order}; no clear verdict in ${judgements.unclear}.</p>
% if judgements.interval is not None:
<p>Share of new among the decided pairs: ${percent(judgements.new_share)} (95 % interval ${percent(judgements.interval[0])} to ${percent(judgements.interval[1])}).</p>
% endif
<p>Agreement of the two orders: ${percent(judgements.agreement)}. Each pair was judged twice, with the answers swapped and without names. The judgement cost ${dollars(report.judge_microdollars)}.</p>
% endif
<h2>Pairs</h2>
<div class="filter">
<label><input type="radio" name="only" checked> all</label>
% if judgements is not None:
% for name in ("new", "old", "tie", "order", "unclear"):
<label><input type="radio" name="only" id="only-${name}"> ${in_words[name]}</label>
% endfor
% endif
<label><input type="radio" name="only" id="only-failed"> refused or failed</label>
</div>
% for entry in report.entries:
<%
    pair = entry.pair
    trouble = "trouble" if {pair.old.outcome, pair.new.outcome} != {"answered"} else ""
%>\
<article class="${entry.judgement or ""} ${trouble}">
<header>
<div class="text">${pair.question}</div>
<div class="about">${pair.place} · ${count(pair.messages, "message", "messages")} in the request${"" if pair.complete else ", which may be incomplete"} · ${in_words[entry.judgement]} · ${pair.prompt_id}</div>
</header>
<div class="sides">
% for name, answer in (("old", pair.old), ("new", pair.new)):
<section class="${answer.outcome} ${"won" if entry.judgement == name else ""}">
<h3>${name}: ${answer.model or "no model"}</h3>
<div class="about">${answer.outcome} · ${seconds(answer.first_text_ms)} to the first text, ${seconds(answer.whole_ms)} in all · cost ${dollars(answer.cost_microdollars)}</div>
<div class="text">${answer.text}</div>
</section>
% endfor
</div>
</article>
% endfor
</body>
</html>
