//! The counters and series of one thread, which alone writes them. Scrapes read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::names::{Counter, Family, Grid};
use crate::metrics::series_list::SeriesList;

/// Aligned so that two threads never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Shard {
    counters: Vec<AtomicU64>,
    grids: Vec<AtomicU64>,
    series: Vec<SeriesList>,
}

impl Shard {
    /// Makes a shard whose counters are all zero.
    pub fn new() -> Arc<Shard> {
        let zeros = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        let series = Family::ALL.iter().map(|_| SeriesList::default()).collect();
        Arc::new(Shard { counters: zeros(Counter::ALL.len()), grids: zeros(Grid::ALL.len() * GRID), series })
    }

    /// Adds `n` to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        add(&self.counters[counter as usize], n);
    }

    /// Adds one to a counter.
    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Returns the series of a family, which
    /// [`SeriesIndex`](crate::metrics::series_index::SeriesIndex) makes.
    pub fn series(&self, family: Family) -> &SeriesList {
        &self.series[family as usize]
    }

    /// Returns the value of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    /// Adds to a cell of a grid. A cell outside of it is ignored.
    pub fn add_to(&self, grid: Grid, word: usize, (from, to): (usize, usize), n: u64) {
        if let Some(cell) = self.cell(grid, word, (from, to)) {
            add(cell, n);
        }
    }

    /// Returns the value of a cell of a grid. A cell outside of the grid is 0.
    pub fn get_of(&self, grid: Grid, word: usize, sides: (usize, usize)) -> u64 {
        self.cell(grid, word, sides).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    fn cell(&self, grid: Grid, word: usize, (from, to): (usize, usize)) -> Option<&AtomicU64> {
        let is_inside = word < Grid::WORDS && from < Grid::SIDES && to < Grid::SIDES;
        let at = grid as usize * GRID + (word * Grid::SIDES + from) * Grid::SIDES + to;
        self.grids.get(at).filter(|_| is_inside)
    }
}

/// Cells of one grid.
const GRID: usize = Grid::WORDS * Grid::SIDES * Grid::SIDES;

/// Adds without a locked instruction, since there is one writer.
fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}
