
"use strict";
// Without this script everything is shown; only the filter is missing.
(() => {
	const bar = document.getElementById("filter");
	if (bar) {
		const input = bar.querySelector("input"), count = bar.querySelector("span");
		const rows = [...document.querySelectorAll(".list > *")].map(e => {
			const head = e.matches("details") ? e.firstElementChild : e;
			return [e, head.textContent.toLowerCase()];
		});
		const filter = () => {
			const words = input.value.toLowerCase().split(/\s+/).filter(w => w);
			let n = 0;
			for (const [e, text] of rows) {
				e.hidden = !words.every(w => text.includes(w));
				n += e.hidden ? 0 : 1;
			}
			count.textContent = `${n} of ${rows.length}`;
		};
		input.addEventListener("input", filter);
		for (const a of document.querySelectorAll("[data-filter]"))
			a.addEventListener("click", () => { input.value = a.dataset.filter; filter(); });
		bar.hidden = false;
		filter();
	}
	const show = () => {
		const e = location.hash && document.getElementById(location.hash.slice(1));
		if (!e) return;
		for (let d = e; (d = d.parentElement.closest("details"));) { d.open = true; d.hidden = false; }
		e.scrollIntoView({block: "center"});
	};
	addEventListener("hashchange", show);
	show();
})();
