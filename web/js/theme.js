// Runs before the first paint: pins the theme a person chose.
try { const theme = localStorage.getItem('theme'); if (theme) document.documentElement.dataset.theme = theme; } catch { /* the system's theme */ }
